"""One Prefect server per project, started on demand, everything inside the project folder.

A server already named by PREFECT_API_URL is used as it is.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from forgetflow.config.project import Project
from forgetflow.errors import ForgetflowError, InputError

START_SECONDS = 120
"""How long a server may take; the very first start migrates a database."""

STOP_SECONDS = 5


def configure() -> None:
    """Point Prefect at the project around the current folder; nothing outside a project."""
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "ERROR")
    # Logs are sent in batches and a process waits for the last one before it ends.
    os.environ.setdefault("PREFECT_LOGGING_TO_API_BATCH_INTERVAL", "0.1")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        project = Project.find()
    except InputError:
        return
    os.environ.setdefault("PREFECT_HOME", str(prefect_home(project)))
    url = running_server(project)
    if url:
        os.environ.setdefault("PREFECT_API_URL", url)


@contextmanager
def without_heartbeats() -> Iterator[None]:
    """Run the flows inside the block without Prefect's heartbeats. Call after `ensure_server`.

    Prefect ends a run by waiting for its heartbeat thread, which sleeps a second at a time, and a
    deletion makes four runs. Heartbeats serve automations that look for crashed runs; runs that
    `flows.serve` starts keep them.
    """
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def prefect_home(project: Project) -> Path:
    """Return the folder of Prefect's database, profiles and results."""
    return project.state / "prefect"


def ensure_server(project: Project) -> str:
    """Return the API address of a Prefect server, starting the project's own if none answers.

    Call it before Prefect is imported: Prefect reads its settings once.

    Raises:
        ForgetflowError: the server did not answer in time; the message names its log.
    """
    home = prefect_home(project)
    home.mkdir(parents=True, exist_ok=True)
    url = answering_server(project)
    if url:
        os.environ["PREFECT_API_URL"] = url
        return url
    with FileLock(home / "server.lock"):
        url = running_server(project) or _start(project)
    os.environ["PREFECT_API_URL"] = url
    return url


def answering_server(project: Project) -> str | None:
    """Return the address of the server to use, if it answers: PREFECT_API_URL, or our own."""
    given = os.environ.get("PREFECT_API_URL")
    return given if given and _answers(given) else running_server(project)


def running_server(project: Project) -> str | None:
    """Return the address of the project's server if it answers."""
    try:
        known = json.loads(_server_file(project).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    url = f"http://127.0.0.1:{known['port']}/api"
    return url if _alive(known["pid"]) and _answers(url) else None


def stop_server(project: Project) -> bool:
    """Stop the project's server; returns whether one was running."""
    try:
        known = json.loads(_server_file(project).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    running = _alive(known["pid"])
    if running:
        _end(known["pid"])
    _server_file(project).unlink(missing_ok=True)
    return running


def _start(project: Project) -> str:
    port = project.settings.run.prefect_port or _free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        "PREFECT_HOME": str(prefect_home(project)),
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_UI_API_URL": url,  # where the UI's pages look for the API
    }
    log = prefect_home(project) / "server.log"
    sys.stderr.write(
        "starting the project's Prefect server: seconds, the first time up to a minute\n"
    )
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start"],
            cwd=project.root,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while not _answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise ForgetflowError(f"the Prefect server did not start; its log is {log}")
        time.sleep(0.1)
    _server_file(project).write_text(json.dumps({"pid": process.pid, "port": port}))
    return url


def _end(pid: int) -> None:
    """End a server politely and, when that takes too long, at once."""
    os.killpg(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _alive(pid):
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.05)


def _server_file(project: Project) -> Path:
    return prefect_home(project) / "server.json"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as reply:  # noqa: S310
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _alive(pid: int) -> bool:
    with suppress(ChildProcessError):  # a child of ours must be reaped before it is gone
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
