import gzip
import lzma
import struct

import numpy as np
import pytest

from forgetflow.config.data import DataSettings
from forgetflow.records.sources.registry import import_records

NAMES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}
RNG = np.random.default_rng(0)
IMAGES = {
    "train": RNG.integers(0, 256, (6, 28, 28), np.uint8),
    "test": RNG.integers(0, 256, (3, 28, 28), np.uint8),
}
LABELS = {
    "train": np.array([5, 0, 4, 1, 9, 2], np.uint8),
    "test": np.array([7, 2, 1], np.uint8),
}


def idx(array):
    return struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def contents():
    return {
        name: idx((IMAGES if what == "images" else LABELS)[side])
        for (side, what), name in NAMES.items()
    }


def write(folder, files, suffix=""):
    pack = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[suffix]
    for name, data in files.items():
        (folder / (name + suffix)).write_bytes(pack(data))


def read(folder, **settings):
    return import_records(DataSettings(source="idx", path=str(folder), **settings))


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
def test_round_trip(tmp_path, suffix):
    write(tmp_path, contents(), suffix)
    imported = read(tmp_path)
    for side, records in (("train", imported.train), ("test", imported.test)):
        assert records.record_ids == [f"idx-{side}-{i:05d}" for i in range(len(LABELS[side]))]
        assert records.subject_ids == records.record_ids
        names = [records.schema.class_names[i] for i in records.labels]
        assert names == [str(one) for one in LABELS[side]]
        np.testing.assert_array_equal(
            records.inputs[:, 0], IMAGES[side].astype(np.float32) / np.float32(255)
        )
    assert imported.train.schema == imported.test.schema
    assert imported.train.schema.class_names == ("0", "1", "2", "4", "5", "7", "9")
    assert imported.train.schema.features.shape == (1, 28, 28)
    assert imported.train.schema.features.dtype == "uint8"


def test_compression_does_not_reach_the_records(tmp_path):
    for folder, suffix in (("plain", ""), ("packed", ".gz")):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, contents(), suffix)
    assert read(tmp_path / "plain").train.digest == read(tmp_path / "packed").train.digest


def test_classes_name_the_labels_in_order(tmp_path):
    write(tmp_path, contents())
    clothes = (
        "top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "shoe",
        "bag",
        "boot",
    )
    train = read(tmp_path, classes=clothes).train
    assert train.schema.class_names == clothes
    assert train.labels.tolist() == LABELS["train"].tolist()


def test_label_outside_the_classes_is_refused(tmp_path, refused):
    write(tmp_path, contents())
    with refused("train-images-idx3-ubyte", "data row 1 ", "outside the 5 classes", "(2 rows"):
        read(tmp_path, classes=tuple("abcde"))


@pytest.mark.parametrize("name", NAMES.values())
def test_missing_file_is_refused(tmp_path, refused, name):
    files = contents()
    del files[name]
    write(tmp_path, files)
    with refused(tmp_path / name, "not found"):
        read(tmp_path)


@pytest.mark.parametrize("name", NAMES.values())
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: b"\x89PNG" + data[4:], "not an idx file"),
        (lambda data: struct.pack(">I", 0x0802) + data[4:], "not an idx file"),
        (lambda data: data[:6], "not an idx file"),
        (lambda data: b"", "not an idx file"),
        (lambda data: data[:-1], "its header promises"),
        (lambda data: data + b"\0", "its header promises"),
        (lambda data: data[:4] + b"\xff\xff\xff\xff" + data[8:], "its header promises"),
    ],
)
def test_damaged_file_is_refused(tmp_path, refused, name, damage, words):
    files = contents()
    files[name] = damage(files[name])
    write(tmp_path, files)
    with refused(tmp_path / name, words, "fetch the file again"):
        read(tmp_path)


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-5],
        lambda data: b"",
        lambda data: b"no archive",
        lambda data: data[:30] + bytes([data[30] ^ 255]) + data[31:],
    ],
)
def test_damaged_archive_is_refused(tmp_path, refused, suffix, damage):
    write(tmp_path, contents(), suffix)
    path = tmp_path / f"train-labels-idx1-ubyte{suffix}"
    path.write_bytes(damage(path.read_bytes()))
    with refused(path, "fetch the file again"):
        read(tmp_path)


def test_other_number_of_labels_is_refused(tmp_path, refused):
    files = contents() | {"train-labels-idx1-ubyte": idx(LABELS["train"][:5])}
    write(tmp_path, files)
    with refused("6 images", "5 labels", "train-images", "train-labels"):
        read(tmp_path)


def test_empty_data_set_is_refused(tmp_path, refused):
    empty = {
        "t10k-images-idx3-ubyte": idx(IMAGES["test"][:0]),
        "t10k-labels-idx1-ubyte": idx(LABELS["test"][:0]),
    }
    write(tmp_path, contents() | empty)
    with refused("t10k-images-idx3-ubyte", "no records"):
        read(tmp_path)


def test_other_image_size_in_the_test_set_is_refused(tmp_path, refused):
    write(tmp_path, contents() | {"t10k-images-idx3-ubyte": idx(IMAGES["test"][:, :8, :8])})
    with refused("(1, 28, 28)", "(1, 8, 8)"):
        read(tmp_path)


def test_unreadable_file_is_refused(tmp_path, refused, monkeypatch):
    write(tmp_path, contents())
    monkeypatch.setattr("pathlib.Path.read_bytes", _denied)
    with refused("train-images-idx3-ubyte", "cannot be read (Permission denied)"):
        read(tmp_path)


def _denied(_):
    raise PermissionError(13, "Permission denied")
