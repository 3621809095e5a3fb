import zipfile

import numpy as np
import pytest

from forgetflow.config.data import DataSettings
from forgetflow.records.sources.registry import import_records

RNG = np.random.default_rng(0)
TRAIN = RNG.integers(0, 256, (6, 4, 5), np.uint8)
TEST = RNG.integers(0, 256, (3, 4, 5), np.uint8)
ARRAYS = {
    "x_train": TRAIN,
    "y_train": np.array([2, 0, 1, 10, 2, 0]),
    "x_test": TEST,
    "y_test": np.array([1, 0, 2]),
}
PEOPLE = 40
PLAIN = {
    "x": RNG.normal(size=(3 * PEOPLE, 7)),
    "y": np.array(["sit", "walk", "stand"] * PEOPLE),
    "subject": np.repeat(np.arange(PEOPLE), 3),
}


def with_feature(value):
    """Arrays whose fifth training record has a bad value."""
    x = TRAIN.astype(np.float64)
    x[4, 1, 1] = value
    return {"x_train": x, "x_test": TEST.astype(np.float64)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.npz"


def read(path, arrays, **settings):
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return import_records(DataSettings(source="npz", path=str(path), **settings))


def test_round_trip(path):
    imported = read(path, ARRAYS)
    train = imported.train
    assert train.record_ids == [f"npz-train-{i:05d}" for i in range(6)]
    assert imported.test.record_ids == [f"npz-test-{i:05d}" for i in range(3)]
    assert train.subject_ids == train.record_ids
    assert train.schema == imported.test.schema
    assert train.schema.class_names == ("0", "1", "2", "10")
    assert train.labels.tolist() == [2, 0, 1, 3, 2, 0]
    assert train.schema.features.shape == (1, 4, 5)
    assert train.schema.features.dtype == "uint8"
    np.testing.assert_array_equal(train.inputs[:, 0] * 255, TRAIN.astype(np.float32))
    assert np.isnan(train.priors).all()


def test_ids_subjects_and_priors(path):
    imported = read(
        path,
        ARRAYS
        | {
            "record_id_train": np.array(["f", "e", "d", "c", "b", "a"]),
            "subject_train": np.array([1, 1, 2, 2, 3, 3], np.int8),
            "deletion_prior_train": np.array([0, 0.25, 0.5, 1, np.nan, 0.1], np.float32),
            "subject_test": np.array([7, 8, 9]),
        },
    )
    assert imported.train.record_ids == list("abcdef")
    assert imported.train.subject_ids == ["3", "3", "2", "2", "1", "1"]
    np.testing.assert_array_equal(
        imported.train.priors, np.array([0.1, np.nan, 1, 0.5, 0.25, 0], np.float32)
    )
    assert imported.train.table["deletion_prior"].null_count == 1
    assert imported.test.subject_ids == ["7", "8", "9"]


def test_plain_arrays_are_split_by_subject(path):
    imported = read(path, PLAIN, test_fraction=0.3)
    train, test = imported.train, imported.test
    assert len(train) + len(test) == 3 * PEOPLE
    assert not set(train.subject_ids) & set(test.subject_ids)
    assert set(train.subject_ids) | set(test.subject_ids) == {str(i) for i in range(PEOPLE)}
    assert train.schema.class_names == ("sit", "stand", "walk")
    rows = [int(one.removeprefix("npz-")) for one in train.record_ids]
    np.testing.assert_array_equal(train.inputs, PLAIN["x"][rows].astype(np.float32))
    assert [train.schema.class_names[i] for i in train.labels] == PLAIN["y"][rows].tolist()
    assert train.subject_ids == [str(row // 3) for row in rows]


def test_side_of_a_subject_does_not_depend_on_the_others(path):
    ids = {"record_id": np.arange(3 * PEOPLE)}
    everyone = read(path, PLAIN | ids)
    few = read(path, {name: array[30:] for name, array in (PLAIN | ids).items()})
    assert set(few.train.subject_ids) <= set(everyone.train.subject_ids)
    assert set(few.test.subject_ids) <= set(everyone.test.subject_ids)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((8, 3), (3,)), ((8, 4, 5), (1, 4, 5)), ((8, 3, 4, 5), (3, 4, 5))],
)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int16", "bool"])
def test_shapes_and_types(path, shape, expected, dtype):
    x = RNG.integers(0, 2, shape).astype(dtype)
    train = read(path, {"x_train": x, "y_train": np.zeros(8, int)}, test_fraction=0.5).train
    assert train.schema.features.shape == train.schema.input_shape == expected
    assert train.schema.features.dtype == ("uint8" if dtype == "uint8" else "float32")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.array([10, 9, -1, 9, 10, -1]), ("-1", "9", "10")),
        (np.array([1.0, 2.0, 1.0, 2.0, 1.0, 2.0]), ("1", "2")),
        (np.array([True, False] * 3), ("false", "true")),
        (np.array([b"x", b"y"] * 3), ("x", "y")),
    ],
)
def test_class_names_are_the_distinct_labels(path, labels, names):
    arrays = ARRAYS | {"y_train": labels, "y_test": labels[:3]}
    assert read(path, arrays).train.schema.class_names == names


def test_chosen_classes(path, refused):
    assert read(path, ARRAYS, classes=("10", "2", "1", "0")).train.labels.tolist() == [
        1, 3, 2, 0, 1, 3,
    ]  # fmt: skip
    with refused("x_train", "data row 4 ", "outside the 3 classes"):
        read(path, ARRAYS, classes=("0", "1", "2"))
    with refused("x_train", "data row 4 ", "outside the 3 classes"):
        read(path, ARRAYS, classes=("zero", "one", "two"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y_train": None}, ["no array 'y_train'", "x_train"]),
        ({"x_train": None}, ["no array 'x_train'"]),
        ({"x_test": None}, ["no array 'x_test'"]),
        ({"y_test": None}, ["no array 'y_test'"]),
        ({"x": TRAIN}, ["both x and x_train"]),
        ({"y_train": np.zeros(5, int)}, ["6 records", "5"]),
        ({"subject_train": np.zeros(7, int)}, ["6 records", "7"]),
        ({"record_id_test": np.arange(2)}, ["(x_test)", "3 records", "2"]),
        ({"y_train": np.eye(6)}, ["y_train has shape (6, 6)"]),
        ({"y_train": np.array([1, 2, 0.5, 1, 1, 1])}, ["y_train", "text or whole numbers"]),
        ({"y_train": np.array([1, 2, np.nan, 1, 1, 1])}, ["data row 3 ", "empty label"]),
        ({"y_train": np.array(["a", "b", "", "a", "b", "a"])}, ["data row 3 ", "empty label"]),
        ({"y_train": np.arange(6) * 1j}, ["y_train", "text or whole numbers"]),
        ({"subject_train": np.array(list("ab") + [""] * 4)}, ["data row 3 ", "empty subject id"]),
        ({"record_id_train": np.array([1, 2, 3, 2, 4, 5])}, ["data rows 2 and 4", "unique"]),
        ({"deletion_prior_train": np.array([0, 0, 2, 0, 0, 0])}, ["data row 3 ", "prior"]),
        ({"deletion_prior_train": np.array(["x"] * 6)}, ["deletion_prior_train", "numbers"]),
        ({"x_train": np.zeros(6)}, ["shape (6,)"]),
        ({"x_train": np.zeros((6, 1, 1, 1, 1))}, ["shape (6, 1, 1, 1, 1)"]),
        ({"x_train": np.zeros((6, 0))}, ["shape (6, 0)"]),
        ({"x_train": np.array([["a"]] * 6)}, ["must be numbers"]),
        (with_feature(np.nan), ["data row 5 ", "NaN or infinite"]),
        (with_feature(1e39), ["data row 5 ", "NaN or infinite"]),
        ({"x_test": TEST[:, :3]}, ["(1, 4, 5)", "(1, 3, 5)"]),
        ({"x_test": TEST.astype(float)}, ["uint8", "float32"]),
        ({"x_train": TRAIN[:0], "y_train": np.zeros(0, int)}, ["x_train", "no records"]),
        ({"x_test": TEST[:0], "y_test": np.zeros(0, int)}, ["x_test", "no records"]),
        (
            {"record_id_train": np.arange(6), "record_id_test": np.array([9, 5, 8])},
            ["(x_test)", "data row 2 ", "a record id that is also in", "(x_train)"],
        ),
        (
            {"subject_train": np.arange(6), "subject_test": np.array([9, 8, 5])},
            ["(x_test)", "data row 3 ", "a subject that is also in", "(x_train)"],
        ),
    ],
)
def test_unusable_arrays_are_refused(path, refused, change, words):
    with refused(path, *words):
        read(path, ARRAYS | change)


def test_objects_are_never_unpickled(path, refused):
    with refused(path, "plain arrays"):
        read(path, ARRAYS | {"extra": np.array([{"a": 1}], object)})


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"no archive",
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(TRAIN.tobytes()[:20], b"\0" * 20),
        lambda data: data.replace(b"descr", b"d\0scr"),
    ],
)
def test_damaged_archive_is_refused(path, refused, damage):
    read(path, ARRAYS)
    path.write_bytes(damage(path.read_bytes()))
    with refused(path, "npz archive", "damaged"):
        import_records(DataSettings(source="npz", path=str(path)))


def test_other_files_are_refused(tmp_path, refused):
    array, archive = tmp_path / "array.npy", tmp_path / "other.zip"
    np.save(array, TRAIN)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("readme.txt", "hello")
    with refused(array, "npz archive"):
        import_records(DataSettings(source="npz", path=str(array)))
    with refused(archive, "no array 'x_train'"):
        import_records(DataSettings(source="npz", path=str(archive)))
    with refused(tmp_path, "npz archive"):
        import_records(DataSettings(source="npz", path=str(tmp_path)))
