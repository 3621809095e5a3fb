"""Fixtures shared by all rooms."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from forgetflow.config.project import Project


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
    observed: dict[str, Any] = field(default_factory=dict)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
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
        return self.run(sys.executable, "-m", "forgetflow", *arguments)

    def cli(self, *arguments: str) -> str:
        return self._checked(self.run_cli(*arguments))

    def dvc(self, *arguments: str) -> str:
        return self._checked(self.run(sys.executable, "-m", "dvc", *arguments))

    def git(self, *arguments: str) -> str:
        return self._checked(self.run("git", *arguments))

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self.start_module("forgetflow", *arguments)

    def start_module(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _checked(self, done: subprocess.CompletedProcess[str]) -> str:
        assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="session")
def server_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project whose Prefect server all others of the session use."""
    root = tmp_path_factory.mktemp("server")
    (root / "params.yaml").write_text("{}\n")
    return Project(root)


@pytest.fixture(scope="session")
def prefect_home(server_project: Project) -> Path:
    """Home of that server: its database and the results of all tasks."""
    from flows.runtime import prefect_home

    return prefect_home(server_project)


@pytest.fixture(scope="session")
def prefect_api(server_project: Project) -> Iterator[str]:
    """Address of that server."""
    from flows import runtime

    before = dict(os.environ)
    os.environ.pop("PREFECT_API_URL", None)
    try:
        yield runtime.ensure_server(server_project)
    finally:
        runtime.stop_server(server_project)
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def new_project(
    tmp_path_factory: pytest.TempPathFactory, prefect_api: str, prefect_home: Path
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
        params = yaml.safe_load((root / "params.yaml").read_text())
        for key, value in (SMALL | (changes or {})).items():
            block, field = key.split(".")
            params[block][field] = value
        (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        project = ProjectFolder(
            root,
            {
                **os.environ,
                "PATH": path,
                "PREFECT_API_URL": prefect_api,
                "PREFECT_HOME": str(prefect_home),
                "DVC_NO_ANALYTICS": "1",
                "GIT_AUTHOR_NAME": "t",
                "GIT_AUTHOR_EMAIL": "t@example.org",
                "GIT_COMMITTER_NAME": "t",
                "GIT_COMMITTER_EMAIL": "t@example.org",
            },
        )
        project.git("init", "--quiet")
        project.git("add", "-A")
        project.git("commit", "--quiet", "-m", "start")
        return project

    return make


@pytest.fixture(scope="session")
def latest_tasks(prefect_home: Path) -> Callable[[str], dict[str, str]]:
    """Return a reader of task name -> state in the latest run of a flow."""
    query = """
        select task_run.name, task_run.state_name from task_run
        join flow_run on flow_run.id = flow_run_id
        where flow_run.id = (
            select flow_run.id from flow_run join flow on flow.id = flow_id
            where flow.name = ? order by flow_run.created desc limit 1)
    """

    def read(flow: str) -> dict[str, str]:
        with sqlite3.connect(prefect_home / "prefect.db") as database:
            return dict(database.execute(query, (flow,)).fetchall())

    return read


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
