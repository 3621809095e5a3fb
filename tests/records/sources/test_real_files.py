"""The sources on the real files; counts and checksums are those published with the data."""

import hashlib

import numpy as np
import pytest

from forgetflow.config.data import DataSettings
from forgetflow.records.sources.files import find_file, read_bytes
from forgetflow.records.sources.registry import import_records

pytestmark = pytest.mark.data

IDX_MD5 = {
    "mnist": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
}
IDX_COUNTS = {
    "mnist": (
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ),
    "fashion_mnist": ([6000] * 10, [1000] * 10),
}
IDX_MEAN_STD = {"mnist": (0.13066, 0.30811), "fashion_mnist": (0.28604, 0.35302)}
CIFAR10_MD5 = [
    "e8800bf27ec6f45491f149f7317b9608",
    "16da7f6fe1e477cbb1e0f1dc460ddba6",
    "d89dc53bd17e60b84343cd94e9eafc38",
    "6a16ea006743888dfbad08e7c3eb56be",
    "45015b38af39ac52ea2bbcbab3f0986a",
    "4fd89b928a74095080b56355876466c0",
]
ACTIVITIES = [1722, 1544, 1406, 1777, 1906, 1944]
WINDOWS_PER_SUBJECT = [
    *(347, 302, 341, 317, 302, 325, 308, 281, 288, 294, 316, 320, 327, 323, 328),
    *(366, 368, 364, 360, 354, 408, 321, 372, 381, 409, 392, 376, 382, 344, 383),
]
TEST_PEOPLE = {2, 4, 9, 10, 12, 13, 18, 20, 24}


@pytest.fixture
def folder(data_folder, request):
    """The folder of one data set, by indirect parameter."""
    path = data_folder / request.param
    if not path.is_dir():
        pytest.skip(f"FORGETFLOW_DATA has no folder {request.param}")
    return path


@pytest.mark.parametrize("folder", ["mnist", "fashion_mnist"], indirect=True)
def test_idx(folder):
    for name, md5 in IDX_MD5[folder.name].items():
        assert hashlib.md5(read_bytes(find_file(folder, name))).hexdigest() == md5
    imported = import_records(DataSettings(source="idx", path=str(folder)))
    train, test = imported.train, imported.test
    assert (len(train), len(test)) == (60_000, 10_000)
    assert train.schema == test.schema
    assert train.schema.class_names == tuple("0123456789")
    expected = IDX_COUNTS[folder.name]
    assert [np.bincount(side.labels).tolist() for side in (train, test)] == [*expected]
    mean, std = IDX_MEAN_STD[folder.name]
    assert train.inputs.mean(dtype=np.float64) == pytest.approx(mean, abs=1e-5)
    assert train.inputs.std(dtype=np.float64) == pytest.approx(std, abs=1e-5)


@pytest.mark.parametrize("folder", ["cifar10"], indirect=True)
def test_cifar10(folder):
    imported = import_records(DataSettings(source="cifar10", path=str(folder)))
    train, test = imported.train, imported.test
    assert (len(train), len(test)) == (50_000, 10_000)
    assert np.bincount(train.labels).tolist() == [5000] * 10
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert train.schema.class_names[0] == "airplane"
    assert train.schema.class_names[9] == "truck"
    # The files' bytes can be put together again from the records: nothing moved or was lost.
    batches = [(train, 10_000 * i) for i in range(5)] + [(test, 0)]
    for (records, first), md5 in zip(batches, CIFAR10_MD5, strict=True):
        rows = slice(first, first + 10_000)
        pixels = np.rint(records.inputs[rows].reshape(10_000, -1) * 255).astype(np.uint8)
        labels = records.labels[rows, None].astype(np.uint8)
        raw = np.concatenate([labels, pixels], axis=1).tobytes()
        assert hashlib.md5(raw).hexdigest() == md5
    means = [train.inputs[:, c].mean(dtype=np.float64) for c in range(3)]
    assert means == pytest.approx([0.49140, 0.48216, 0.44653], abs=1e-5)


@pytest.mark.parametrize("folder", ["uci_har"], indirect=True)
def test_people_of_uci_har(folder, tmp_path):
    with np.load(folder / "uci_har_inertial.npz") as har:
        windows = har["signal"][har["window_start"][:, None] + np.arange(128)]  # (N, 128, 9)
        names, subject, held_out = har["activity_names"], har["subject"], har["official_test"]
        activity = names[har["activity"] - 1]
    sides = {"train": ~held_out, "test": held_out}
    arrays = {f"x_{side}": windows[rows] for side, rows in sides.items()}
    arrays |= {f"y_{side}": activity[rows] for side, rows in sides.items()}
    arrays |= {f"subject_{side}": subject[rows] for side, rows in sides.items()}
    np.savez(tmp_path / "har.npz", **arrays)
    imported = import_records(
        DataSettings(source="npz", path=str(tmp_path / "har.npz"), classes=tuple(names.tolist()))
    )
    train, test = imported.train, imported.test
    assert len(train) + len(test) == 10_299
    assert train.schema.input_shape == (1, 128, 9)
    assert {int(one) for one in test.subject_ids} == TEST_PEOPLE
    people = np.array([int(one) for one in train.subject_ids + test.subject_ids])
    assert np.bincount(people)[1:].tolist() == WINDOWS_PER_SUBJECT
    labels = np.concatenate([train.labels, test.labels])
    assert np.bincount(labels).tolist() == ACTIVITIES
    np.testing.assert_array_equal(train.inputs[:, 0], windows[~held_out])
