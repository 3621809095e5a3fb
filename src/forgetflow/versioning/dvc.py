"""The only place that talks to DVC: in this process, through `dvc.repo`.

DVC owns the versions of the training set, the manifests and the models. Nothing here runs
inside a DVC stage: a running `dvc repro` holds the locks these calls need.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from forgetflow.config.project import Project
from forgetflow.errors import ForgetflowError
from forgetflow.requests.seal import SealResult, seal

if TYPE_CHECKING:
    from dvc.repo import Repo

QUIET = {"DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1"}


def has_dvc(project: Project) -> bool:
    """Return whether the project is a DVC repository."""
    return (project.root / ".dvc").is_dir()


def track(project: Project, *paths: Path) -> None:
    """Put files or folders under DVC (`dvc add`).

    Raises:
        ForgetflowError: DVC refused.
    """
    with _repository(project, "add") as repo:
        repo.add([str(path) for path in paths])


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
    `repo.commit` would parse and write dvc.lock once a stage, which takes longer with every
    batch; here it is read and written once for all.

    Raises:
        ForgetflowError: DVC refused, e.g. because there is no such stage.
    """
    with _repository(project, "commit") as repo:
        from dvc.dvcfile import load_file

        pipeline = load_file(repo, str(project.root / "dvc.yaml"))
        known = pipeline.stages
        done = [known[name] for name in stages]
        for stage in done:
            stage.save()
            stage.commit()
        pipeline.dump_stages(done, update_pipeline=False)


@contextmanager
def _repository(project: Project, command: str) -> Iterator["Repo"]:
    """Hold the project's DVC repository, locked; what DVC refuses becomes one sentence."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from dvc.exceptions import DvcException
    from dvc.repo import Repo, lock_repo

    logger = logging.getLogger("dvc")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # what `--quiet` does: no progress bars, no chatter
    try:
        with Repo(str(project.root)) as repo, lock_repo(repo):
            yield repo
    except (DvcException, OSError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ForgetflowError(f"`dvc {command}` failed: {reason[0]}") from error
    finally:
        logger.setLevel(level)
