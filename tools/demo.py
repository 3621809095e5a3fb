"""The whole story on the embedded digits: `make demo`.

Runs the commands a person would type and shows them. Running it again finds everything done.
"""

import shlex
import subprocess
import sys
import time
from pathlib import Path

from forgetflow.config.project import Project
from forgetflow.requests.batches import read_batches
from tools.clean import mark_demo

BIN = Path(sys.executable).parent
PERSON = ["--subject", "writer-007", "--id", "demo-1", "--reason", "asked to be forgotten"]
INBOX = "request_id,subject\n" + "".join(f"demo-{n},writer-{n:03d}\n" for n in range(20, 26))


def main() -> int:
    """Tell the story; returns the exit code of the first command that fails."""
    project = Project.find()
    started = time.monotonic()
    mark_demo(project)

    say("1. Build the original model: ten isolated shards, four checkpoints each.")
    run("dvc", "repro")
    if "b1" not in read_batches(project):
        say("2. A person asks to be forgotten. What will it cost, and by when?")
        run("forgetflow", "request", "add", *PERSON)
        run("forgetflow", "plan")
        say("3. Seal the request into a batch and run the deletion flow.")
        run("forgetflow", "seal")
    run("forgetflow", "forget", "b1") if waits("b1") else None
    if "b2" not in read_batches(project):
        say("4. Six more requests arrive as a file in the inbox; one command takes them in.")
        drop(project.inbox / "requests.csv", INBOX)
    if waits("b2"):
        run("forgetflow", "forget")
    say("5. Proof: train again from nothing without the forgotten records, compare bytes.")
    run("forgetflow", "verify", "b2")
    say("6. The pipeline agrees that nothing is left to do.")
    run("dvc", "status")
    say("7. Who came from whom.")
    run("forgetflow", "lineage", "show")
    run("forgetflow", "lineage", "html")
    say(
        f"Done in {time.monotonic() - started:.0f} s.\n\n"
        "  make ui                  opens the MLflow and Prefect UIs on this machine\n"
        "  audit/b2/audit.html      is it really forgotten? pools of models against oracles\n"
        "  report/report.html       measures of every generation beside their oracles\n"
        "  lineage.html             the family tree of models\n"
        "  make stop                stops the Prefect server that runs in the background\n"
        "  make clean               removes what the demo made\n"
    )
    return 0


def waits(batch: str) -> bool:
    """Return whether a batch is not published yet (or not even sealed)."""
    from flows.forget import waiting

    project = Project.find()
    return batch not in read_batches(project) or batch in waiting(project)


def run(*command: str) -> None:
    """Show a command and run it; leave with its exit code if it fails."""
    sys.stdout.write(f"\n$ {shlex.join(command)}\n")
    sys.stdout.flush()
    done = subprocess.run([str(BIN / command[0]), *command[1:]], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def drop(path: Path, text: str) -> None:
    """Show and write a file into the inbox: hidden first, renamed when complete."""
    sys.stdout.write(
        f"\n$ cp requests.csv {path.parent.name}/   # {text.count(chr(10)) - 1} rows\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}")
    hidden.write_text(text)
    hidden.rename(path)


def say(text: str) -> None:
    """Print a paragraph of the story."""
    sys.stdout.write(f"\n{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
