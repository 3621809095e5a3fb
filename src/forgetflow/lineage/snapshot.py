"""The family tree as it was last read, so that looking at it does not take MLflow two seconds.

`.forgetflow/lineage.json` holds a tree and the digest of the database it was read from. It counts
only while the database has that digest: whatever changes a version, an alias or a tag, from here
or from MLflow's own pages, changes the file. Only the project's own database has a snapshot; a
tracking server is always asked.
"""

import json
from pathlib import Path

from forgetflow.config.project import Project
from forgetflow.files.atomic import write_atomically
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.keys.digests import bytes_digest, digest_of
from forgetflow.lineage.tracking import database
from forgetflow.lineage.version import LineageTree

SNAPSHOT_VERSION = 1


def stamp(project: Project) -> str | None:
    """Return the digest of everything that a tree is read from.

    None where the project's database is elsewhere, is not there yet, or is being written to.
    """
    file = database(project)
    if file is None or not file.is_file() or _being_written(file):
        return None
    lineage = project.settings.lineage
    return digest_of(
        {
            "version": SNAPSHOT_VERSION,
            "database": bytes_digest(file.read_bytes()),
            "model": lineage.model_name,
            "experiment": lineage.experiment,
        }
    )


def read_snapshot(project: Project) -> LineageTree | None:
    """Return the tree, if it is what reading the database again would give."""
    try:
        found = json.loads(_path(project).read_bytes())
        if found["stamp"] != stamp(project):
            return None
        return from_json(LineageTree, found["tree"])
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None  # there is none, or not one of this version


def write_snapshot(project: Project, tree: LineageTree, before: str | None) -> None:
    """Keep a tree that was read when the stamp was `before`, unless it has changed since."""
    if before is not None and before == stamp(project):
        content = {"stamp": before, "tree": to_json(tree)}
        write_atomically(_path(project), json.dumps(content).encode())


def _path(project: Project) -> Path:
    return project.state / "lineage.json"


def _being_written(file: Path) -> bool:
    """Whether SQLite keeps changes beside the file: a write-ahead log, or a rollback journal."""
    beside = [file.with_name(f"{file.name}-{kind}") for kind in ("wal", "journal")]
    return any(path.is_file() and path.stat().st_size for path in beside)
