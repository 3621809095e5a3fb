"""Fixtures shared by all rooms."""

import fcntl
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import pytest
import yaml
from filelock import FileLock

from forgetflow.config.project import Project
from tests.forked import Libraries, Started
from tests.tasks import task_states_of_flow

SERVER = "FORGETFLOW_TEST_SERVER"
"""Variable with the folder of the Prefect server that all processes of a test session share."""


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        folder = Path(tempfile.mkdtemp(prefix="forgetflow-server-"))
        (folder / "params.yaml").write_text("{}\n")
        os.environ[SERVER] = str(folder)
        config.add_cleanup(lambda: remove_server(folder))


def remove_server(folder: Path) -> None:
    """Remove the server's folder; a server whose worker crashed is still there to be stopped."""
    if (folder / ".forgetflow").exists():
        from flows.runtime import stop_server

        stop_server(Project(folder))
    shutil.rmtree(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole projects first: one that starts last would leave the other workers idle."""
    here = Path(__file__).parent
    items.sort(key=lambda item: item.path.parent != here)


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Nobody pulls the plug here: what a killed process has written is there all the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder with the real data sets; tests that need it are marked `data`."""
    folder = os.environ.get("FORGETFLOW_DATA")
    if not folder:
        pytest.skip("needs real files: set FORGETFLOW_DATA to the folder that holds them")
    return Path(folder)


REPOSITORY = Path(__file__).parents[1]
COPIED = (
    "src",
    "flows",
    "tools",
    "dvc.yaml",
    "params.yaml",
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvcignore",
    ".gitignore",
)
STAGES = ("ingest", "partition", "train", "attribute", "report")
"""What `dvc repro` runs in a project without deletions."""

SMALL = {
    "partition.shards": 4,
    "partition.slices": 3,
    "train.epochs": 8,
    "evaluate.audit": {"members": 0},
}


@dataclass(frozen=True)
class ProjectFolder:
    """A project in a folder of its own, driven the way a person drives it."""

    root: Path
    environment: dict[str, str]
    libraries: Libraries
    observed: dict[str, Any] = field(default_factory=dict)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command from nothing, as a person's shell does."""
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def run_cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.libraries.run(self.root, self.environment, "forgetflow", *arguments)

    def cli(self, *arguments: str) -> str:
        return self._checked(self.run_cli(*arguments))

    def dvc(self, *arguments: str) -> str:
        return self._checked(self.libraries.run(self.root, self.environment, "dvc", *arguments))

    def repro(self) -> None:
        """Have DVC make everything, each stage a new Python, as a person does."""
        self._checked(self.run(sys.executable, "-m", "dvc", "repro", "--quiet"))

    def build(self, *stages: str) -> None:
        """Make stages of dvc.yaml in order, without a new interpreter for each, and tell DVC."""
        for stage in stages or STAGES:
            command = ("flows.stage", *stage.split("@"))
            self._checked(self.libraries.run(self.root, self.environment, *command))
        self.dvc("commit", "--quiet", "--force", *(stages or STAGES))

    def git(self, *arguments: str) -> str:
        return self._checked(self.run("git", *arguments))

    def start(self, *arguments: str) -> Started:
        return self.start_module("forgetflow", *arguments)

    def start_module(self, module: str, *arguments: str) -> Started:
        return self.libraries.start(self.root, self.environment, module, *arguments)

    def change(self, changes: dict[str, Any]) -> None:
        """Change settings by dotted key."""
        path = self.root / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for key, value in changes.items():
            block, name = key.split(".")
            params[block][name] = value
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    def _checked(self, done: subprocess.CompletedProcess[str]) -> str:
        assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="session")
def server_project() -> Project:
    """The project whose Prefect server all others of the session use, in every worker."""
    return Project(Path(os.environ[SERVER]))


@pytest.fixture(scope="session")
def prefect_home(server_project: Project) -> Path:
    """Home of that server: its database and the results of all tasks."""
    from flows.runtime import prefect_home

    return prefect_home(server_project)


@pytest.fixture(scope="session")
def prefect_api(server_project: Project, pytestconfig: pytest.Config) -> Iterator[str]:
    """Address of that server. The first worker to ask starts it, and stops it after the last."""
    from flows import runtime

    users = (server_project.root / "users").open("w")
    pytestconfig.add_cleanup(users.close)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        with FileLock(server_project.root / "start.lock"):
            if runtime.running_server(server_project) is None:
                pytestconfig.add_cleanup(lambda: stop_after_the_last(server_project, users))
            address = runtime.ensure_server(server_project)
        fcntl.flock(users, fcntl.LOCK_SH)  # until this worker ends
        yield address


def stop_after_the_last(project: Project, users: IO[str]) -> None:
    """Stop the server as soon as no other worker uses it."""
    from flows.runtime import stop_server

    fcntl.flock(users, fcntl.LOCK_EX)
    stop_server(project)


@pytest.fixture(scope="session")
def environment(prefect_api: str, prefect_home: Path) -> dict[str, str]:
    """Environment of every command in a project."""
    author = {"NAME": "t", "EMAIL": "t@example.org"}
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PREFECT_API_URL": prefect_api,
        "PREFECT_HOME": str(prefect_home),
        "DVC_NO_ANALYTICS": "1",
        **{f"GIT_{who}_{what}": v for who in ("AUTHOR", "COMMITTER") for what, v in author.items()},
    }


@pytest.fixture(scope="session")
def libraries(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Libraries]:
    """What starts commands without importing the libraries again."""
    started = Libraries(tmp_path_factory.mktemp("libraries"), environment)
    yield started
    started.close()


@pytest.fixture(scope="session")
def new_project(
    tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str], libraries: Libraries
) -> Callable[..., ProjectFolder]:
    """Make a project on the digits with small settings; optional changes by dotted key."""

    def make(name: str, changes: dict[str, Any] | None = None) -> ProjectFolder:
        root = tmp_path_factory.mktemp(name)
        for relative in COPIED:
            source, target = REPOSITORY / relative, root / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        (root / "data" / "forget").mkdir(parents=True)
        (root / "data" / "forget" / "batches.yaml").write_text("batches: {}\n")
        project = ProjectFolder(root, environment, libraries)
        project.change(SMALL | (changes or {}))
        project.git("init", "--quiet")
        project.git("add", "-A")
        project.git("commit", "--quiet", "-m", "start")
        return project

    return make


@pytest.fixture(scope="session")
def original(
    new_project: Callable[..., ProjectFolder],
    server_project: Project,
    environment: dict[str, str],
    libraries: Libraries,
) -> ProjectFolder:
    """A project with its original model, built by the first worker to ask; to be copied only."""
    known = server_project.root / "original"
    with FileLock(f"{known}.lock"):
        if not known.exists():
            project = new_project("original")
            project.build()
            known.write_text(str(project.root))
    return ProjectFolder(Path(known.read_text()), environment, libraries)


def move_paths(database: Path, before: str, after: str) -> None:
    """Replace a folder's name in every text of a database."""
    with closing(sqlite3.connect(database)) as opened, opened:
        columns = opened.execute(
            "select t.name, c.name from sqlite_master t, pragma_table_info(t.name) c "
            "where t.type = 'table' and (c.type like '%char%' or c.type like '%text%')"
        ).fetchall()
        for table, column in columns:
            opened.execute(
                f'update "{table}" set "{column}" = replace("{column}", ?, ?)', (before, after)
            )


@pytest.fixture(scope="session")
def copy_project(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[ProjectFolder, str], ProjectFolder]:
    """Copy a project with all it has made; MLflow's database holds paths, which move along."""

    def copy(project: ProjectFolder, name: str) -> ProjectFolder:
        root = tmp_path_factory.mktemp(name)
        shutil.copytree(project.root, root, dirs_exist_ok=True)
        if (root / "mlflow.db").exists():
            move_paths(root / "mlflow.db", str(project.root), str(root))
        return replace(project, root=root, observed={})

    return copy


@pytest.fixture(scope="session")
def latest_tasks(prefect_home: Path) -> Callable[[str], dict[str, str]]:
    """Return a reader of task name -> state in the latest run of a flow."""
    return partial(task_states_of_flow, prefect_home)


@pytest.fixture(scope="session")
def check_study() -> Callable[..., None]:
    """Return a check of a study's folder: its files, its JSON, and that it names nobody."""

    def check(project: ProjectFolder, name: str, files: set[str]) -> None:
        folder = project.root / "studies" / name
        assert {path.name for path in folder.iterdir()} == files
        for path in folder.iterdir():
            text = path.read_text()
            assert "writer-" not in text, path.name
            assert "digit-" not in text, path.name
        printed = json.loads(project.observed["first"])
        assert json.loads((folder / f"{name}.json").read_text()) == printed

    return check
