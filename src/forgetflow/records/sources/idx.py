"""The MNIST family (MNIST, Fashion-MNIST, KMNIST, ...): four idx files in one folder.

Layout (LeCun, Cortes, Burges): big-endian 32-bit header `0x00000803, N, H, W` before N x H x W
pixel bytes, `0x00000801, N` before N label bytes.
"""

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forgetflow.config.data import DataSettings
from forgetflow.errors import InputError
from forgetflow.records.sources.files import find_file, read_bytes, source_path
from forgetflow.records.sources.imported import Imported
from forgetflow.records.sources.raw import RawRecords, to_imported

IMAGES, LABELS = 0x00000803, 0x00000801


def read(settings: DataSettings) -> Imported:
    """Read `train-images-idx3-ubyte` and its three companions, plain, .gz or .xz.

    Pixels stay uint8, shape (1, H, W). Classes are named by number unless `settings.classes`
    names them in order.

    Raises:
        InputError: a file is missing, unreadable, of another kind or cut short, or images and
            labels do not match in number.
    """
    folder = source_path(settings)
    return to_imported(
        settings, _side(folder, "train", "idx-train"), _side(folder, "t10k", "idx-test")
    )


def _side(folder: Path, stem: str, prefix: str) -> RawRecords:
    images_path = find_file(folder, f"{stem}-images-idx3-ubyte")
    labels_path = find_file(folder, f"{stem}-labels-idx1-ubyte")
    images, labels = _read_idx(images_path, IMAGES), _read_idx(labels_path, LABELS)
    if len(images) != len(labels):
        raise InputError(
            f"{images_path} has {len(images)} images but {labels_path} has {len(labels)} labels: "
            "both must come from one data set"
        )
    return RawRecords(
        where=str(images_path),
        prefix=prefix,
        labels=[str(one) for one in labels.tolist()],
        features=images[:, np.newaxis],
    )


def _read_idx(path: Path, magic: int) -> NDArray[np.uint8]:
    """Return the array of one idx file: (N, H, W) or (N,), by its magic number."""
    data = read_bytes(path)
    rank = magic & 0xFF
    header = 4 + 4 * rank
    if len(data) < header or struct.unpack(">I", data[:4])[0] != magic:
        raise InputError(
            f"{path} is not an idx file of {rank} dimensions (magic 0x{magic:08x}): "
            "fetch the file again"
        )
    shape = struct.unpack(f">{rank}I", data[4:header])
    expected = header + int(np.prod(shape, dtype=object))
    if len(data) != expected:
        raise InputError(
            f"{path} has {len(data)} bytes where its header promises {expected}: "
            "fetch the file again"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
