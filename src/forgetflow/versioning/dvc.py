"""The only place that talks to DVC. Changes go through `python -m dvc`, reads through files.

DVC owns the versions of the training set, the manifests and the models. Nothing here runs
inside a DVC stage: a running `dvc repro` holds the locks these calls need.
"""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from forgetflow.config.project import Project
from forgetflow.errors import ForgetflowError
from forgetflow.requests.seal import SealResult, seal

QUIET = {"DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1"}


def dvc(project: Project, *arguments: str, show: bool = False) -> str:
    """Run a DVC command in the project folder and return what it printed.

    Stages start `python`; the interpreter's folder goes first in PATH so that it is this one.

    Args:
        project: where.
        arguments: DVC's command line.
        show: let DVC write to the terminal instead (the returned text is empty).

    Raises:
        ForgetflowError: DVC failed; the message carries its last line.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=project.root,
        env={**os.environ, **QUIET, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=None if show else subprocess.PIPE,
        stderr=None if show else subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = (done.stdout or "").strip().splitlines()
        reason = next((line for line in lines if line.startswith("ERROR")), "see its output above")
        raise ForgetflowError(f"`dvc {' '.join(arguments)}` failed: {reason}")
    return done.stdout or ""


def has_dvc(project: Project) -> bool:
    """Return whether the project is a DVC repository."""
    return (project.root / ".dvc").is_dir()


def track(project: Project, *paths: Path) -> None:
    """Put files or folders under DVC (`dvc add`)."""
    dvc(project, "add", "--quiet", *(str(path.relative_to(project.root)) for path in paths))


def seal_and_track(project: Project, method: str | None = None) -> SealResult:
    """Freeze open requests into the next batch, and put manifests and request book under DVC.

    A batch that a killed run sealed but did not track is caught up on.

    Raises:
        InputError: the batch is not for the method; nothing was sealed.
    """
    from forgetflow.unlearning.refusal import refuse_manifest

    result = seal(project, method=method, check=partial(refuse_manifest, project))
    manifests = sorted(project.forget.glob("b*.parquet"))
    new = [path for path in manifests if not path.with_name(f"{path.name}.dvc").exists()]
    if has_dvc(project) and new:
        track(project, *new, project.requests)
    return result


def commit_stages(project: Project, *stages: str) -> None:
    """Tell DVC that the outputs of `stages` are what a run would give (`dvc commit --force`).

    DVC takes our word: call it only after the same functions have run that the stages run.
    """
    dvc(project, "commit", "--quiet", "--force", *stages)
