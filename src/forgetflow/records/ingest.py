"""Bring a data set into `data/train` and `data/test`."""

from typing import Any

from forgetflow.config import DataSettings
from forgetflow.errors import InputError
from forgetflow.project import Project
from forgetflow.records.record_set import RecordSet, write_record_set
from forgetflow.records.sources import import_records
from forgetflow.records.sources.imported import Imported


def ingest(project: Project, settings: DataSettings | None = None) -> dict[str, Any]:
    """Read the source that `params.yaml` (or `settings`) names and write both record sets.

    Returns:
        Counts and digests of both sets.

    Raises:
        InputError: the source cannot be used; nothing was written.
    """
    source = settings or project.settings.data
    imported = import_records(source)
    check(imported)
    parts = source.parts
    write_record_set(imported.train, project.train, parts)
    write_record_set(imported.test, project.test, parts)
    return {"train": summary(imported.train), "test": summary(imported.test)}


def check(imported: Imported) -> None:
    """Refuse an import whose two sides share a record.

    Raises:
        InputError: a record id is in the training set and in the test set.
    """
    shared = set(imported.train.record_ids) & set(imported.test.record_ids)
    if shared:
        raise InputError(
            f"{len(shared)} record id(s) are in the training set and in the test set; "
            "ids must be unique across both"
        )


def summary(records: RecordSet) -> dict[str, Any]:
    """Return counts of a record set: no ids."""
    return {
        "records": len(records),
        "subjects": len(set(records.subject_ids)),
        "classes": len(records.schema.class_names),
        "input_shape": list(records.schema.input_shape),
        "digest": records.digest,
    }
