"""Data sources: one file each, one registry line each.

A source reads its files and returns `Imported`: a training record set and, where the data has
one, its own test set. Without one, `split_by_subject` holds out whole subjects.
"""

from collections.abc import Callable

from forgetflow.config.data import DataSettings
from forgetflow.errors import InputError
from forgetflow.records.sources import cifar10, csv_file, digits, idx, images, npz, parquet_file
from forgetflow.records.sources.imported import Imported

SOURCES: dict[str, Callable[[DataSettings], Imported]] = {
    "digits": digits.read,
    "idx": idx.read,
    "cifar10": cifar10.read,
    "npz": npz.read,
    "parquet": parquet_file.read,
    "csv": csv_file.read,
    "images": images.read,
}


def import_records(settings: DataSettings) -> Imported:
    """Read the source that `settings.source` names.

    Raises:
        InputError: the source is unknown, or its data cannot be used.
    """
    if settings.source not in SOURCES:
        raise InputError(f"unknown data source '{settings.source}'; known: {', '.join(SOURCES)}")
    return SOURCES[settings.source](settings)
