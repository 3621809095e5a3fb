import gzip
import lzma

import numpy as np
import pytest

from forgetflow.config.data import DataSettings
from forgetflow.records.sources import cifar10
from forgetflow.records.sources.registry import import_records

FILES = (*cifar10.TRAIN, *cifar10.TEST)
RNG = np.random.default_rng(0)
RECORDS = {name: RNG.integers(0, 256, (2, 3073), np.uint8) for name in FILES}
for _i, _name in enumerate(FILES):
    RECORDS[_name][:, 0] = (_i, 9 - _i)


def write(folder, suffix="", meta=None):
    pack = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[suffix]
    folder.mkdir(exist_ok=True)
    for name, records in RECORDS.items():
        (folder / (name + suffix)).write_bytes(pack(records.tobytes()))
    if meta is not None:
        (folder / "batches.meta.txt").write_text(meta)


def read(folder, **settings):
    return import_records(DataSettings(source="cifar10", path=str(folder), **settings))


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
@pytest.mark.parametrize("parent", [False, True])
def test_round_trip(tmp_path, suffix, parent):
    folder = tmp_path / cifar10.FOLDER
    write(folder, suffix)
    imported = read(tmp_path if parent else folder)
    raw = np.concatenate([RECORDS[name] for name in cifar10.TRAIN])
    assert imported.train.record_ids == [f"cifar10-train-{i:05d}" for i in range(10)]
    assert imported.test.record_ids == ["cifar10-test-00000", "cifar10-test-00001"]
    assert imported.train.subject_ids == imported.train.record_ids
    assert imported.train.labels.tolist() == raw[:, 0].tolist()
    assert imported.test.labels.tolist() == [5, 4]
    np.testing.assert_array_equal(
        imported.train.inputs,
        raw[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32) / np.float32(255),
    )
    assert imported.train.schema == imported.test.schema
    assert imported.train.schema.class_names == cifar10.CLASSES
    assert imported.train.schema.features.shape == (3, 32, 32)
    assert imported.train.schema.features.dtype == "uint8"


def test_pixels_are_planes_of_rows(tmp_path):
    write(tmp_path)
    pixels = read(tmp_path).test.inputs[1] * 255
    raw = RECORDS["test_batch.bin"][1, 1:]
    assert pixels[0, 0, 1] == raw[1]  # red, first row, second column
    assert pixels[0, 2, 0] == raw[64]
    assert pixels[2, 0, 0] == raw[2048]  # blue


def test_class_names_come_from_the_meta_file(tmp_path):
    write(tmp_path, meta="".join(f"class{i}\n" for i in range(10)) + "\n")
    assert read(tmp_path).train.schema.class_names == tuple(f"class{i}" for i in range(10))
    names = tuple("abcdefghij")
    assert read(tmp_path, classes=names).train.schema.class_names == names


@pytest.mark.parametrize("meta", ["", "one\ntwo\n", "same\n" * 10])
def test_meta_file_without_ten_classes_is_refused(tmp_path, refused, meta):
    write(tmp_path, meta=meta)
    with refused(tmp_path / "batches.meta.txt", "10 distinct classes"):
        read(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_refused(tmp_path, refused, name):
    write(tmp_path)
    (tmp_path / name).unlink()
    with refused(tmp_path / name, "not found"):
        read(tmp_path)


@pytest.mark.parametrize("size", [0, 1, 3072, 3074, 6145])
def test_file_cut_short_is_refused(tmp_path, refused, size):
    write(tmp_path)
    path = tmp_path / "data_batch_3.bin"
    path.write_bytes((path.read_bytes() * 2)[:size])
    with refused(path, f"{size} bytes", "3073"):
        read(tmp_path)


def test_damaged_archive_is_refused(tmp_path, refused):
    write(tmp_path, ".xz")
    path = tmp_path / "test_batch.bin.xz"
    path.write_bytes(path.read_bytes()[:-40])
    with refused(path, "corrupt or cut short"):
        read(tmp_path)


def test_label_without_a_class_names_its_file_and_row(tmp_path, refused):
    write(tmp_path)
    data = RECORDS["data_batch_4.bin"].copy()
    data[1, 0] = 10
    (tmp_path / "data_batch_4.bin").write_bytes(data.tobytes())
    with refused(tmp_path / "data_batch_4.bin", "data row 2 ", "outside the 10 classes"):
        read(tmp_path)


def test_label_outside_the_chosen_classes_is_refused(tmp_path, refused):
    write(tmp_path)
    with refused("data_batch_1.bin", "data row 2 ", "outside the 9 classes"):
        read(tmp_path, classes=tuple("abcdefghi"))
