"""CIFAR-10 in its official binary layout (Krizhevsky 2009, "binary version").

Each record is one label byte and 3,072 pixel bytes: the red, green and blue planes, 32 rows each.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forgetflow.config.data import DataSettings
from forgetflow.errors import InputError
from forgetflow.records.record_set import refuse_rows
from forgetflow.records.sources.files import COMPRESSED, find_file, read_bytes, source_path
from forgetflow.records.sources.imported import Imported
from forgetflow.records.sources.raw import RawRecords, to_imported

FOLDER = "cifar-10-batches-bin"
TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST = ("test_batch.bin",)
SHAPE = (3, 32, 32)
RECORD_BYTES = 1 + 3 * 32 * 32
CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


def read(settings: DataSettings) -> Imported:
    """Read five training batches and the test batch, plain, .gz or .xz; uint8 (3, 32, 32).

    `settings.path` is the folder of the batches or the one that holds `cifar-10-batches-bin`.
    Classes are named by `settings.classes`, `batches.meta.txt`, or the ten official names.

    Raises:
        InputError: a file is missing, unreadable or cut short, or has a label without a class.
    """
    path = source_path(settings)
    inside = any((path / FOLDER / (TRAIN[0] + suffix)).is_file() for suffix in COMPRESSED)
    folder = path / FOLDER if inside else path
    names = settings.classes or _class_names(folder)
    return to_imported(
        settings,
        _side(folder, TRAIN, len(names), "cifar10-train"),
        _side(folder, TEST, len(names), "cifar10-test"),
        class_names=names,
    )


def _class_names(folder: Path) -> tuple[str, ...]:
    path = folder / "batches.meta.txt"
    if not path.is_file():
        return CLASSES
    names = tuple(read_bytes(path).decode(errors="replace").split())
    if len(set(names)) != len(CLASSES):
        raise InputError(
            f"{path} must name 10 distinct classes, one per line: correct or remove it"
        )
    return names


def _side(folder: Path, files: tuple[str, ...], classes: int, prefix: str) -> RawRecords:
    batches = [_read_batch(find_file(folder, name), classes) for name in files]
    records = np.concatenate(batches)
    return RawRecords(
        where=f"{folder} ({files[0]} onwards)" if len(files) > 1 else str(folder / files[0]),
        prefix=prefix,
        labels=[str(label) for label in records[:, 0].tolist()],
        features=records[:, 1:].reshape(-1, *SHAPE),
    )


def _read_batch(path: Path, classes: int) -> NDArray[np.uint8]:
    """Return the records of one file, uint8 (N, 3073); labels are checked here, by file."""
    data = read_bytes(path)
    if not data or len(data) % RECORD_BYTES:
        raise InputError(
            f"{path} has {len(data)} bytes, not a multiple of the {RECORD_BYTES} of one record: "
            "fetch the file again"
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, RECORD_BYTES)
    refuse_rows(str(path), records[:, 0] >= classes, f"a label outside the {classes} classes")
    return records
