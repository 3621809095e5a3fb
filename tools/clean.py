"""Remove what the demo and the tests made: `make clean`. Never anything of a user's.

The demo marks a project that was empty before it ran. In such a project, and as long as nobody
sealed a batch of their own, everything the pipeline wrote is the demo's and goes. In any other
project only caches go.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from forgetflow.config.project import Project
from forgetflow.requests.batches import read_batches

DEMO_BATCHES = ("b1", "b2")
CACHES = (".forgetflow/prefect", ".forgetflow/locks", ".dvc/tmp")
MADE = (
    ".forgetflow",
    ".dvc/cache",
    "attribution",
    "audit",
    "data/inbox",
    "data/partition",
    "data/requests",
    "data/test",
    "data/train",
    "dvc.lock",
    "evaluation",
    "lineage.html",
    "mlartifacts",
    "mlflow.db",
    "models",
    "report",
    "store",
)


def mark_demo(project: Project) -> None:
    """Remember that the demo starts in a project without models or batches."""
    if not read_batches(project) and not project.model("original").exists():
        project.state.mkdir(exist_ok=True)
        marker(project).touch()


def marker(project: Project) -> Path:
    """Return the file that marks a project as the demo's."""
    return project.state / "demo"


def main() -> int:
    """Remove caches, and in a demo project everything the pipeline wrote."""
    project = Project.find()
    only_demo = marker(project).exists() and tuple(read_batches(project)) in (
        (),
        DEMO_BATCHES[:1],
        DEMO_BATCHES,
    )
    for name in CACHES + (MADE if only_demo else ()):
        path = project.root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if only_demo:
        for path in project.forget.glob("b*.parquet*"):
            path.unlink()
        (project.forget / "ledger.jsonl").unlink(missing_ok=True)
        for ignore in project.root.glob("**/.gitignore"):
            if ignore.parent.name in ("forget", "data") and not _in_git(project, ignore):
                ignore.unlink()
        for note in project.root.glob("data/*.dvc"):
            note.unlink()
        subprocess.run(
            ["git", "checkout", "--quiet", "--", "data/forget/batches.yaml"],
            cwd=project.root,
            check=False,
        )
    sys.stdout.write(
        "removed what the demo made\n"
        if only_demo
        else "removed caches only: this project holds batches or models that are not the demo's\n"
    )
    return 0


def _in_git(project: Project, path: Path) -> bool:
    command = ["git", "ls-files", "--error-unmatch", str(path)]
    return not subprocess.run(
        command, cwd=project.root, capture_output=True, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
