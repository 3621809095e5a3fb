import datetime as dt
import decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forgetflow.config.data import DataSettings
from forgetflow.records.schema import ColumnFeatures
from forgetflow.records.sources.registry import import_records

COLUMNS = {
    "id": pa.array([11, 12, 13]),
    "person": pa.array(["p", "q", "p"]),
    "age": pa.array([30, 40, 50], pa.int32()),
    "height": pa.array([1.5, 1.75, 2.0], pa.float32()),
    "town": pa.array(["Oslo", "Bern", "Oslo"]),
    "member": pa.array([True, False, True]),
    "label": pa.array(["no", "yes", "no"]),
    "risk": pa.array([0.5, None, 1.0]),
}
ROLES = {"record_id": "id", "subject_id": "person", "deletion_prior": "risk"}
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 2, 3), np.uint8)


def read(path, **settings):
    return import_records(DataSettings(source="parquet", path=str(path), **settings))


def write(folder, train, test=None):
    """Write both sides; by default the test set is the training set under other ids."""
    train = {name: values for name, values in train.items() if values is not None}
    pq.write_table(pa.table(train), folder / "train.parquet")
    if test is None:
        test = dict(train)
        if "id" in test:
            test["id"] = pa.array([f"test-{i}" for i in range(len(train["id"]))])
        if "person" in test:
            test["person"] = pa.array([f"other-{i}" for i in range(len(train["person"]))])
    pq.write_table(pa.table(test), folder / "test.parquet")
    return folder


def tensor(values, shape):
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(values.reshape(shape)))


def test_round_trip(tmp_path):
    imported = read(write(tmp_path, COLUMNS), **ROLES)
    train = imported.train
    assert train.record_ids == ["11", "12", "13"]
    assert train.subject_ids == ["p", "q", "p"]
    assert train.labels.tolist() == [0, 1, 0]
    assert train.schema.class_names == ("no", "yes")
    assert train.schema.features == ColumnFeatures(("age", "height"), ("town", "member"), 16)
    assert train.table["age"].to_pylist() == [30, 40, 50]
    assert train.table["height"].to_pylist() == [1.5, 1.75, 2.0]
    assert train.table["member"].to_pylist() == ["true", "false", "true"]
    np.testing.assert_array_equal(train.priors, [0.5, np.nan, 1])
    assert imported.test.schema == train.schema


def test_a_set_written_here_comes_back_the_same(tmp_path):
    """Parts of a record set are themselves a source, once `digest` is dropped."""
    train = read(write(tmp_path, COLUMNS), **ROLES).train
    table = train.table.drop_columns(["digest", "label"])
    names = [train.schema.class_names[i] for i in train.labels]
    table = table.append_column("label", pa.array(names))
    (tmp_path / "again").mkdir()
    pq.write_table(table, tmp_path / "again" / "train.parquet")
    (tmp_path / "again" / "test.parquet").write_bytes((tmp_path / "test.parquet").read_bytes())
    test = pq.read_table(tmp_path / "test.parquet")
    test = test.rename_columns(
        {"id": "record_id", "person": "subject_id", "risk": "deletion_prior"}
    )
    pq.write_table(test, tmp_path / "again" / "test.parquet")
    again = read(
        tmp_path / "again",
        record_id="record_id",
        subject_id="subject_id",
        deletion_prior="deletion_prior",
    ).train
    assert again.digest == train.digest


@pytest.mark.parametrize(
    ("array", "values"),
    [
        (pa.array([1, 2, 3], pa.uint8()), [1, 2, 3]),
        (pa.array([1, 2, 3], pa.float16()), [1, 2, 3]),
        (pa.array([decimal.Decimal("1.50")] * 3), [1.5] * 3),
        (pa.array([2**53] * 3), [2**53] * 3),
        (pa.array([1, 2, 1]).dictionary_encode(), [1, 2, 1]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array(["a", "b", "a"], pa.large_string()), ["a", "b", "a"]),
        (pa.array(["a", "b", "a"], pa.string_view()), ["a", "b", "a"]),
    ],
)
def test_kinds_of_columns(tmp_path, array, values):
    train = read(write(tmp_path, COLUMNS | {"age": array}), **ROLES).train
    assert train.table["age"].to_pylist() == values


def test_dates_and_numbers_may_be_declared_categories(tmp_path, refused):
    dates = pa.array([dt.date(2024, 1, 2)] * 3)
    write(tmp_path, COLUMNS | {"town": dates})
    with refused("train.parquet", "'town'", "date32", "data.categorical"):
        read(tmp_path, **ROLES)
    train = read(tmp_path, categorical=("town", "age"), **ROLES).train
    assert train.table["town"].to_pylist() == ["2024-01-02"] * 3
    assert train.table["age"].to_pylist() == ["30", "40", "50"]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (pa.array([3, 10, 3]), ("3", "10")),
        (pa.array([3.0, 10.0, 3.0]), ("3", "10")),
        (pa.array([True, False, True]), ("false", "true")),
        (pa.array(["b", "a", "b"]).dictionary_encode(), ("a", "b")),
    ],
)
def test_kinds_of_labels(tmp_path, labels, names):
    train = read(write(tmp_path, COLUMNS | {"label": labels}), **ROLES).train
    assert train.schema.class_names == names


@pytest.mark.parametrize(
    ("make", "shape", "dtype"),
    [
        (lambda: tensor(PIXELS, (4, 2, 3)), (1, 2, 3), "uint8"),
        (lambda: tensor(PIXELS, (4, 1, 2, 3)), (1, 2, 3), "uint8"),
        (lambda: tensor(PIXELS.astype(np.float64), (4, 6)), (6,), "float32"),
        (lambda: pa.FixedSizeListArray.from_arrays(pa.array(PIXELS.ravel()), 6), (6,), "uint8"),
        (lambda: pa.array(PIXELS.reshape(4, 6).tolist(), pa.list_(pa.float32())), (6,), "float32"),
        (lambda: pa.array(PIXELS.reshape(4, 6).tolist(), pa.large_list(pa.uint8())), (6,), "uint8"),
    ],
)
def test_dense_features(tmp_path, make, shape, dtype):
    write(tmp_path, {"x": make(), "label": pa.array([0, 1, 1, 0])})
    train = read(tmp_path).train
    assert train.record_ids == [f"parquet-train-{i:05d}" for i in range(4)]
    assert train.schema.features.shape == shape
    assert train.schema.features.dtype == dtype
    scale = np.float32(255 if dtype == "uint8" else 1)
    np.testing.assert_array_equal(
        train.inputs.reshape(4, 6), PIXELS.reshape(4, 6).astype(np.float32) / scale
    )


def test_single_file_and_row_groups(tmp_path):
    count = 300
    table = pa.table({"x": np.arange(count), "y": ["a", "b"] * (count // 2)})
    pq.write_table(table, tmp_path / "all.parquet", row_group_size=7)
    imported = read(tmp_path / "all.parquet", label="y")
    assert len(imported.train) + len(imported.test) == count
    rows = [int(one.removeprefix("parquet-")) for one in imported.test.record_ids]
    assert imported.test.table["x"].to_pylist() == rows


def test_folder_named_like_a_partition_adds_no_column(tmp_path):
    (tmp_path / "year=2024").mkdir()
    train = read(write(tmp_path / "year=2024", COLUMNS), **ROLES).train
    assert "year" not in train.table.column_names


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [2, 1, 0]])
def test_row_order_changes_nothing(tmp_path, order):
    expected = read(write(tmp_path, COLUMNS), **ROLES).train.table
    shuffled = {name: values.take(pa.array(order)) for name, values in COLUMNS.items()}
    assert read(write(tmp_path, shuffled), **ROLES).train.table == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": None}, ["no column 'label'", "set data.label"]),
        ({"label": pa.array(["a", None, "b"])}, ["data row 2 ", "empty label"]),
        ({"label": pa.array(["a", "b", ""])}, ["data row 3 ", "empty label"]),
        ({"label": pa.array([1, np.nan, 0])}, ["data row 2 ", "empty label"]),
        ({"label": pa.array([1, 0.5, 0])}, ["column 'label'", "text or whole numbers"]),
        ({"label": pa.array([[1], [2], [3]])}, ["column 'label'", "text or whole numbers"]),
        ({"id": None}, ["no column 'id'", "set data.record_id"]),
        ({"id": pa.array([1, 2, 1])}, ["data rows 1 and 3", "record id"]),
        ({"id": pa.array([1, None, 3])}, ["data row 2 ", "empty record id"]),
        ({"person": pa.array(["a", None, "b"])}, ["data row 2 ", "empty subject id"]),
        ({"risk": pa.array(["a", "b", "c"])}, ["column 'risk'", "not numbers"]),
        ({"risk": pa.array([0, 0, 1.5])}, ["data row 3 ", "deletion prior"]),
        ({"age": pa.array([1, None, 3])}, ["data row 2 ", "missing", "'age'"]),
        ({"age": pa.array([1, 2, np.nan])}, ["data row 3 ", "missing", "'age'"]),
        ({"age": pa.array([1, 2, np.inf])}, ["data row 3 ", "infinite", "'age'"]),
        ({"age": pa.array([1, 2, 2**53 + 1])}, ["column 'age'", "beyond 2^53"]),
        ({"age": pa.nulls(3)}, ["column 'age'", "not numbers"]),
        ({"town": pa.array(["a", None, "b"])}, ["data row 2 ", "missing", "'town'"]),
        ({"town": pa.array(["a", "b", ""])}, ["data row 3 ", "missing", "'town'"]),
        ({"member": pa.array([True, None, True])}, ["data row 2 ", "missing", "'member'"]),
        ({"town": pa.array([b"a", b"b", b"c"])}, ["column 'town'", "binary"]),
        ({"town": pa.array([{"a": 1}] * 3)}, ["column 'town'", "struct"]),
        ({"town": pa.array([[1], [2], [3]])}, ["dense features in 'town'", "another", "'age'"]),
        ({"digest": pa.array([1, 2, 3])}, ["'digest'", "reserved"]),
    ],
)
def test_unusable_columns_are_refused(tmp_path, refused, change, words):
    write(tmp_path, COLUMNS | change)
    with refused(tmp_path / "train.parquet", *words):
        read(tmp_path, **ROLES)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (pa.array([[1, 2], [3], [4, 5]]), ["data row 2 ", "a length other than the first row's 2"]),
        (pa.array([[1, 2], None, [4, 5]]), ["data row 2 ", "no features"]),
        (pa.array([[1, 2], [3, None], [4, 5]]), ["data row 2 ", "NaN or infinite"]),
        (pa.array([[1.0, 2], [3, np.inf], [4, 5]]), ["data row 2 ", "NaN or infinite"]),
        (pa.array([[], [], []], pa.list_(pa.int8())), ["features of shape (3, 0)"]),
        (pa.array([["a"], ["b"], ["c"]]), ["must be numbers"]),
        (pa.array([[[1]], [[2]], [[3]]]), ["must be numbers"]),
    ],
)
def test_unusable_dense_features_are_refused(tmp_path, refused, x, words):
    write(tmp_path, {"x": x, "label": pa.array([0, 1, 0])})
    with refused(tmp_path / "train.parquet", *words):
        read(tmp_path)


def test_two_columns_of_one_name_are_refused(tmp_path, refused):
    table = pa.table([pa.array([1]), pa.array([2]), pa.array(["a"])], names=["x", "x", "label"])
    pq.write_table(table, tmp_path / "a.parquet")
    with refused("a.parquet", "two columns named 'x'"):
        read(tmp_path / "a.parquet")
    table = pa.table(
        [pa.array([1]), pa.array(["b"]), pa.array(["a"])], names=["x", "label", "label"]
    )
    pq.write_table(table, tmp_path / "a.parquet")
    with refused("a.parquet", "two columns named 'label'"):
        read(tmp_path / "a.parquet")


def test_empty_side_is_refused(tmp_path, refused):
    empty = {name: values[:0] for name, values in COLUMNS.items()}
    write(tmp_path, empty)
    with refused("train.parquet", "no records"):
        read(tmp_path, **ROLES)
    write(tmp_path, COLUMNS, test=empty)
    with refused("test.parquet", "no records"):
        read(tmp_path, **ROLES)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"id,label\n1,a\n",
        lambda data: data[:-10],
        lambda data: data[: len(data) // 2],
    ],
)
def test_damaged_file_is_refused(tmp_path, refused, damage):
    path = write(tmp_path, COLUMNS) / "train.parquet"
    path.write_bytes(damage(path.read_bytes()))
    with refused(path, "cannot be read as Parquet"):
        read(tmp_path, **ROLES)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"id": pa.array([1, 12, 2])},
            ["test.parquet", "data row 2 ", "record id", "train.parquet"],
        ),
        ({"person": pa.array(["x", "y", "q"])}, ["test.parquet", "data row 3 ", "subject"]),
        ({"age": pa.array(["a", "b", "c"])}, ["test.parquet", "column 'age'", "another kind"]),
    ],
)
def test_sides_that_do_not_fit_are_refused(tmp_path, refused, change, words):
    other = {"id": pa.array([1, 2, 3]), "person": pa.array(["x", "y", "z"])}
    write(tmp_path, COLUMNS, test=COLUMNS | other | change)
    with refused(*words):
        read(tmp_path, **ROLES)


def test_dense_against_columns_is_refused(tmp_path, refused):
    dense = {"x": tensor(PIXELS, (4, 6)), "label": pa.array([0, 1, 1, 0])}
    write(tmp_path, dense, test={"x": pa.array([1, 2]), "label": pa.array([0, 1])})
    with refused("uint8 (6,) against columns"):
        read(tmp_path)
