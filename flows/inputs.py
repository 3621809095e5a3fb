"""Records and batches, read once per process and again when their files change.

Tasks receive digests and small numbers, never records, so a worker process opens the data
itself; threads of one process share what is read here.
"""

from functools import lru_cache
from pathlib import Path

from forgetflow.config.project import Project
from forgetflow.studies.protocol import StudyData
from forgetflow.training.workspace import Workspace
from forgetflow.unlearning.runner import Deletion

Stamp = tuple[tuple[str, int, int], ...]


def workspace(project: Project) -> Workspace:
    """Return the project's workspace."""
    return _workspace(project.root, _stamp(_inputs(project)))


def deletion(project: Project, batch: str, seed_offset: int = 0) -> Deletion:
    """Return a sealed batch, resolved; with an offset, under another run seed."""
    files = [*_inputs(project), *sorted(project.forget.glob("*.parquet"))]
    files += [project.forget / "batches.yaml", *sorted(project.root.glob("models/*/model.json"))]
    return _deletion(project.root, batch, seed_offset, _stamp(files))


def study(project: Project) -> StudyData:
    """Return what a study looks at."""
    parts = [*project.train.glob("*.parquet"), *project.test.glob("*.parquet")]
    return _study(project.root, _stamp([*sorted(parts), project.root / "params.yaml"]))


@lru_cache(maxsize=2)
def _workspace(root: Path, stamp: Stamp) -> Workspace:  # noqa: ARG001
    return Workspace.open(Project(root))


@lru_cache(maxsize=4)
def _deletion(root: Path, batch: str, seed_offset: int, stamp: Stamp) -> Deletion:  # noqa: ARG001
    project = Project(root)
    space = workspace(project)
    if seed_offset:
        space = space.with_seed(space.recipe.seed + seed_offset)
    return Deletion.open(project, batch, space)


@lru_cache(maxsize=2)
def _study(root: Path, stamp: Stamp) -> StudyData:  # noqa: ARG001
    return StudyData.open(Project(root))


def _inputs(project: Project) -> list[Path]:
    parts = sorted(project.train.glob("*.parquet"))
    return [*parts, *sorted(project.partition.glob("*")), project.root / "params.yaml"]


def _stamp(files: list[Path]) -> Stamp:
    found = [path for path in files if path.is_file()]
    return tuple((str(p), (s := p.stat()).st_mtime_ns, s.st_size) for p in found)
