"""Runs `python -m MODULE` without its imports: a process that has the libraries forks.

    tests ── one line of JSON per command ──► libraries ── fork ──► the command
          ◄────── process id, exit code ───────┘

A command is still a process of its own, with its folder, environment, output and exit code; what
it saves are the seconds in which torch, Prefect, MLflow and DVC are imported, the same each time,
and those in which an interpreter frees all that at its end. Only libraries are imported beforehand,
nothing of this project. Where starting and ending is part of the question, `ProjectFolder.run`
starts the interpreter.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIBRARIES = (
    "dvc.cli.parser",
    "dvc.commands.repro",
    "dvc.repo",
    "mlflow.store.tracking.sqlalchemy_store",
    "numba",
    "prefect.task_runners",
    "pyarrow.parquet",
    "rich.progress",
    "ruamel.yaml",
    "safetensors.torch",
    "scipy.stats",
    "sklearn.datasets",
    "sklearn.linear_model",
    "torch._dynamo",
    "typer",
)

EXIT_CODE = [1]
"""Of the command that this process is; an exception that nobody catches leaves it as it is."""


class Libraries:
    """The process that forks, as the tests see it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        """Start it in a folder outside any project; Prefect reads `environment` just once."""
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, root: Path, environment: dict[str, str], *command: str) -> "Started":
        """Start `python -m COMMAND` in a folder, as a process group of its own."""
        texts = tempfile.mkdtemp(prefix="forked-")
        pid = self.ask("start", str(root), environment, texts, command)
        return Started(self, command, pid, Path(texts))

    def run(
        self, root: Path, environment: dict[str, str], *command: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `python -m COMMAND` in a folder and wait for its end."""
        return self.start(root, environment, *command).wait()

    def ask(self, *what: Any) -> Any:
        """Send a line, return the reply."""
        print(json.dumps(what), file=self._process.stdin, flush=True)
        return self.reply()

    def reply(self) -> Any:
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End it: there are no more commands."""
        self._process.communicate()


@dataclass(frozen=True)
class Started:
    """A command on its way."""

    libraries: Libraries
    command: tuple[str, ...]
    pid: int
    texts: Path

    def running(self) -> bool:
        return self.libraries.ask("runs", self.pid)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the command and all that it started."""
        os.killpg(self.pid, number)

    def wait(self) -> subprocess.CompletedProcess[str]:
        try:
            code = self.libraries.ask("wait", self.pid)
        except BaseException:  # a test that ran out of time leaves nothing behind
            self.send(signal.SIGKILL)
            self.libraries.reply()
            raise
        said = [(self.texts / name).read_text() for name in ("stdout", "stderr")]
        shutil.rmtree(self.texts)
        return subprocess.CompletedProcess(self.command, code, *said)


def serve() -> None:
    """Fork, until there are no more commands."""
    os.fsync = lambda _: None  # what a killed command has written is there all the same
    atexit.register(end)  # before all others, so that it is called after them
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page of what it only reads
    for line in sys.stdin:
        what, *given = json.loads(line)
        if what == "start":
            reply = os.fork()
            os.setpgid(reply, reply)  # here and there: whoever comes first
            if not reply:
                become(*given)
                return
        elif what == "runs":
            # The end is only looked at: `wait` asks for it.
            reply = os.waitid(os.P_PID, *given, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        else:
            reply = os.waitstatus_to_exitcode(os.waitpid(*given, 0)[1])
        sys.stdout.write(f"{json.dumps(reply)}\n")
        sys.stdout.flush()


def become(root: str, environment: dict[str, str], texts: str, command: list[str]) -> None:
    """Turn this process into the command."""
    for number, path in enumerate((os.devnull, f"{texts}/stdout", f"{texts}/stderr")):
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(root)
    module, *arguments = command
    sys.path[0] = root
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        EXIT_CODE[0] = 0
    except SystemExit as leaving:
        EXIT_CODE[0] = leaving.code or 0


def end() -> None:
    """End at once, when threads have ended and exit handlers were called."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_CODE[0])


if __name__ == "__main__":
    serve()
