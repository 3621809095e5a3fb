"""The sealed batches of a project, in order: `data/forget/batches.yaml`. No personal data.

    batches:
      b1:
        parent: original
        method: sisa
        manifest: 5f0c...        digest of the manifest
        records: 30
        requests: 2
        sealed_at: '2026-01-05T10:00:00Z'
        due_at: '2026-02-04T09:00:00Z'

DVC reads the file for `foreach`, so it stays plain YAML. Batches form a chain: each forgets on
top of the one before it, because a model without its ancestors' deletions would bring the
forgotten records back.
"""

import re
from collections.abc import Sized

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forgetflow.config.project import Project
from forgetflow.errors import InputError
from forgetflow.files.atomic import write_atomically
from forgetflow.files.jsonable import to_json
from forgetflow.files.yaml_text import read_yaml
from forgetflow.requests.manifest import Manifest, manifest_path, read_manifest
from forgetflow.requests.times import UtcTime

ORIGINAL = "original"
"""Generation 0: the model that nothing was deleted from."""

GENERATION = re.compile(r"original|b[1-9][0-9]*")
METHOD = re.compile(r"[a-z][a-z0-9_]{0,39}")
_HEADER = b"# Written by `forgetflow seal`, read by dvc.yaml. Do not edit.\n"


class Batch(BaseModel):
    """What git knows of one sealed batch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parent: str = Field(description="The batch before this one, or `original`.")
    method: str = Field(pattern=f"^{METHOD.pattern}$", description="Unlearning method.")
    manifest: str = Field(pattern="^[0-9a-f]{64}$", description="Digest of the manifest.")
    records: int = Field(ge=1, description="Number of records to forget.")
    requests: int = Field(ge=1, description="Number of requests that brought them in.")
    sealed_at: UtcTime
    due_at: UtcTime

    @classmethod
    def of(cls, manifest: Manifest) -> "Batch":
        """Return the entry of a manifest."""
        return cls(
            parent=manifest.parent,
            method=manifest.method,
            manifest=manifest.digest,
            records=len(manifest),
            requests=len(manifest.requests),
            sealed_at=manifest.created,
            due_at=manifest.due_at,
        )


def read_batches(project: Project) -> dict[str, Batch]:
    """Return the sealed batches by id, oldest first; a project without any has none.

    Raises:
        InputError: the file is no such mapping or a batch is out of line; names the key.
    """
    path = project.forget / "batches.yaml"
    try:
        content = read_yaml(path.read_text())
    except FileNotFoundError:
        return {}
    except (yaml.YAMLError, UnicodeDecodeError):
        raise InputError(f"{path} is not valid YAML: restore it with git") from None
    if not isinstance(content, dict) or content.keys() != {"batches"}:
        raise InputError(f"{path}: needs the one top key 'batches'; restore it with git")
    entries = content["batches"]
    if not isinstance(entries, dict):
        raise InputError(f"{path}: batches: must be a mapping, {{}} when there is none")
    batches: dict[str, Batch] = {}
    for name, entry in entries.items():
        where = f"{path}: batches.{name}"
        expected = next_batch(batches)
        if name != expected:
            raise InputError(f"{where}: expected {expected} here; restore the file with git")
        try:
            batch = Batch.model_validate(entry)
        except ValidationError as error:
            first = error.errors()[0]
            key = "".join(f".{part}" for part in first["loc"])
            raise InputError(f"{where}{key}: {first['msg']}; restore the file with git") from None
        if batch.parent != last_generation(batches):
            raise InputError(
                f"{where}.parent: must be {last_generation(batches)}, the generation before it"
            )
        batches[name] = batch
    return batches


def write_batches(project: Project, batches: dict[str, Batch]) -> None:
    """Write `batches.yaml`, oldest batch first."""
    content = {"batches": {name: to_json(batch) for name, batch in batches.items()}}
    text = yaml.safe_dump(content, sort_keys=False)
    write_atomically(project.forget / "batches.yaml", _HEADER + text.encode())


def set_method(project: Project, batch: str, method: str) -> None:
    """Note that a batch is processed with another method than it was sealed for.

    The manifest and the ledger keep what was sealed; the ledger's `unlearned` entry names the
    method that ran.
    """
    batches = read_batches(project)
    if batches[batch].method != method:
        batches[batch] = batches[batch].model_copy(update={"method": method})
        write_batches(project, batches)


def next_batch(batches: Sized) -> str:
    """Return the id of the batch that would come next."""
    return f"b{len(batches) + 1}"


def last_generation(batches: dict[str, Batch]) -> str:
    """Return the newest generation, which the next batch starts from."""
    return next(reversed(batches), ORIGINAL)


def sealed_manifests(project: Project, upto: str | None = None) -> list[Manifest]:
    """Return the manifests of all batches, or of `upto` and its ancestors, oldest first.

    Raises:
        InputError: no batch `upto`.
        VerdictError: a manifest is missing or not the one `batches.yaml` names.
    """
    batches = read_batches(project)
    names = list(batches)
    if upto == ORIGINAL:
        names = []
    elif upto is not None:
        if upto not in batches:
            known = ", ".join(names) or "none yet: run `forgetflow seal`"
            raise InputError(f"no batch '{upto}'; sealed batches: {known}")
        names = names[: names.index(upto) + 1]
    return [read_manifest(manifest_path(project, one), batches[one].manifest) for one in names]


def batch_manifest(project: Project, batch: str) -> Manifest:
    """Return the manifest of one batch; raises like `sealed_manifests`."""
    manifests = sealed_manifests(project, batch)
    if not manifests:
        raise InputError(f"'{batch}' forgets nothing and has no manifest")
    return manifests[-1]


def forgotten_ids(project: Project, batch: str) -> list[str]:
    """Return the sorted ids of all records that generation `batch` must not know.

    They are those of the batch and all its ancestors; none for `original`. Raises like
    `sealed_manifests`.
    """
    manifests = sealed_manifests(project, batch)
    return sorted({one for manifest in manifests for one in manifest.record_ids})
