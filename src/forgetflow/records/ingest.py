"""Bring a data set into `data/train` and `data/test`."""

from pathlib import Path
from typing import Any

from forgetflow.config.data import DataSettings
from forgetflow.config.project import Project
from forgetflow.records.record_set import RecordSet, write_record_set
from forgetflow.records.sources.imported import Imported
from forgetflow.records.sources.registry import import_records


def ingest(project: Project, settings: DataSettings | None = None) -> dict[str, Any]:
    """Read the source that `params.yaml` (or `settings`) names and write both record sets.

    Returns:
        Counts and digests of both sets.

    Raises:
        InputError: the source or the extractor cannot be used; nothing was written.
        VerdictError: the extractor's files were altered; nothing was written.
    """
    source = settings or project.settings.data
    if source.path:
        path = str(project.root / Path(source.path).expanduser())
        source = source.model_copy(update={"path": path})
    imported = import_records(source)
    if source.extractor:
        from forgetflow.records.extractor import project_extractor  # torch takes a second

        extractor = project_extractor(project, source)
        imported = Imported(
            extractor.extracted(imported.train, "the training set"),
            extractor.extracted(imported.test, "the test set"),
        )
    parts = source.parts
    write_record_set(imported.train, project.train, parts)
    write_record_set(imported.test, project.test, parts)
    return {"train": summary(imported.train), "test": summary(imported.test)}


def summary(records: RecordSet) -> dict[str, Any]:
    """Return counts of a record set: no ids."""
    return {
        "records": len(records),
        "subjects": len(set(records.subject_ids)),
        "classes": len(records.schema.class_names),
        "input_shape": list(records.schema.input_shape),
        "digest": records.digest,
    }
