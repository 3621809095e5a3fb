import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetflow.errors import InputError, VerdictError
from forgetflow.records import record_set
from forgetflow.records.record_set import (
    build_record_set,
    part_name,
    part_of,
    read_record_set,
    write_record_set,
)
from forgetflow.records.schema import ColumnFeatures, RecordSchema, TensorFeatures

N = 60
SCHEMA = RecordSchema(("a", "b", "c"), TensorFeatures((1, 2, 2), "uint8"))
COLUMNS = RecordSchema(("a", "b", "c"), ColumnFeatures(("age",), ("town",), 8))


def make(order=None, **changes):
    """60 records of 20 subjects, rows given in `order`."""
    order = np.arange(N) if order is None else np.asarray(order)
    rng = np.random.default_rng(0)
    values = {
        "record_ids": [f"r{i:02d}" for i in order],
        "subject_ids": [f"s{i // 3}" for i in order],
        "labels": order % 3,
        "features": rng.integers(0, 256, (N, 1, 2, 2), np.uint8)[order],
        "priors": [None if i % 2 else i / N for i in order],
    }
    return build_record_set(SCHEMA, where="source", **(values | changes))


def make_columns(**changes):
    values = {
        "record_ids": ["b", "a"],
        "subject_ids": ["s", "t"],
        "labels": [0, 1],
        "features": {"age": [1.0, 2.0], "town": ["x", "y"]},
    }
    return build_record_set(COLUMNS, where="source", **(values | changes))


def file_bytes(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_records_are_sorted_and_typed():
    records = make(order=np.random.default_rng(1).permutation(N))
    assert len(records) == N
    assert records.record_ids == [f"r{i:02d}" for i in range(N)]
    assert records.subject_ids == [f"s{i // 3}" for i in range(N)]
    assert records.labels.tolist() == [i % 3 for i in range(N)]
    assert records.inputs.shape == (N, 1, 2, 2)
    np.testing.assert_array_equal(records.priors[::2], np.arange(0, N, 2) / N)
    assert np.isnan(records.priors[1::2]).all()
    records.check_digests()


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(N)))
def test_row_order_changes_nothing(order):
    assert make(order=order).table == make().table


def test_take_mask_without():
    records = make()
    assert records.take(np.array([5, 2])).record_ids == ["r05", "r02"]
    assert np.flatnonzero(records.mask({"r07", "unknown"})).tolist() == [7]
    left = records.without(["r07", "r01"])
    assert len(left) == N - 2
    assert not left.mask({"r07", "r01"}).any()
    assert left.digest != records.digest
    assert records.without([]).digest == records.digest


@pytest.mark.parametrize("parts", [1, 5, 16, 200])
def test_round_trip_whatever_the_number_of_parts(tmp_path, parts):
    records = make()
    write_record_set(records, tmp_path / "train", parts)
    back = read_record_set(tmp_path / "train")
    assert len(list((tmp_path / "train").iterdir())) == parts
    assert back.schema == SCHEMA
    assert back.table == records.table
    assert back.digest == records.digest
    back.check_digests()


def test_columns_round_trip(tmp_path):
    write_record_set(make_columns(), tmp_path / "train", 3)
    back = read_record_set(tmp_path / "train")
    assert back.schema == COLUMNS
    assert back.table == make_columns().table


def test_one_form_on_disk(tmp_path):
    """Row order, a detour over the disk and a second run all give the same bytes."""
    write_record_set(make(), tmp_path / "first", 4)
    write_record_set(make(order=range(N - 1, -1, -1)), tmp_path / "second", 4)
    write_record_set(read_record_set(tmp_path / "first"), tmp_path / "third", 4)
    expected = file_bytes(tmp_path / "first")
    assert file_bytes(tmp_path / "second") == file_bytes(tmp_path / "third") == expected


@pytest.mark.parametrize("gone", ["r00", "r31", "r59"])
def test_deleting_one_record_rewrites_one_part(tmp_path, gone):
    write_record_set(make(), tmp_path / "train", 16)
    before = file_bytes(tmp_path / "train")
    write_record_set(read_record_set(tmp_path / "train").without([gone]), tmp_path / "train", 16)
    after = file_bytes(tmp_path / "train")
    assert after.keys() == before.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {part_name(part_of(gone, 16))}
    assert gone.encode() not in b"".join(after.values())


def test_records_are_spread_over_parts():
    numbers = [part_of(f"r{i}", 8) for i in range(4000)]
    assert set(numbers) == set(range(8))
    assert min(np.bincount(numbers)) > 400


def test_writing_leaves_nothing_else_behind(tmp_path):
    write_record_set(make(), tmp_path / "train", 4)
    write_record_set(make().take(np.arange(10)), tmp_path / "train", 2)
    assert [one.name for one in tmp_path.iterdir()] == ["train"]
    assert len(read_record_set(tmp_path / "train")) == 10


@pytest.mark.parametrize("crash_after", [0, 1, 2])
def test_crash_while_writing_never_leaves_a_smaller_set(tmp_path, monkeypatch, crash_after):
    folder = tmp_path / "train"
    write_record_set(make(), folder, 4)
    original, written = pq.write_table, []

    def crash(*args, **options):
        if len(written) == crash_after:
            raise KeyboardInterrupt
        written.append(args)
        original(*args, **options)

    monkeypatch.setattr(pq, "write_table", crash)
    with pytest.raises(KeyboardInterrupt):
        write_record_set(make().without(["r00"]), folder, 4)
    monkeypatch.undo()
    assert read_record_set(folder).digest == make().digest
    write_record_set(make().without(["r00"]), folder, 4)
    assert read_record_set(folder).digest == make().without(["r00"]).digest


@pytest.mark.parametrize("crash_at", [1, 2])
def test_crash_while_replacing_never_leaves_a_smaller_set(tmp_path, monkeypatch, crash_at):
    folder = tmp_path / "train"
    write_record_set(make(), folder, 4)
    original, renamed = Path.rename, []

    def crash(path, target):
        renamed.append(target)
        if len(renamed) == crash_at:
            raise KeyboardInterrupt
        return original(path, target)

    monkeypatch.setattr(Path, "rename", crash)
    with pytest.raises(KeyboardInterrupt):
        write_record_set(make().without(["r00"]), folder, 4)
    monkeypatch.undo()
    if folder.exists():
        assert read_record_set(folder).digest == make().digest
    write_record_set(make().without(["r00"]), folder, 4)
    assert read_record_set(folder).digest == make().without(["r00"]).digest
    assert [one.name for one in tmp_path.iterdir()] == ["train"]


def test_changed_content_is_noticed():
    records = make()
    labels = pa.array((records.labels + 1) % 3)
    position = records.table.schema.get_field_index("label")
    table = records.table.set_column(position, records.table.schema.field("label"), labels)
    with pytest.raises(VerdictError, match=f"{N} record"):
        record_set.RecordSet(SCHEMA, table).check_digests()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"record_ids": ["x", "y", "x"]}, ["data rows 1 and 3", "unique"]),
        ({"record_ids": ["x", "", "z"]}, ["data row 2", "empty record id"]),
        ({"subject_ids": ["x", "y", ""]}, ["data row 3", "empty subject id"]),
        ({"labels": [0, 3, 0]}, ["data row 2", "label outside the 3 classes"]),
        ({"labels": [0, 1, -1]}, ["data row 3", "label outside the 3 classes"]),
        ({"priors": [0.5, 1.01, -1]}, ["data row 2", "deletion prior", "2 rows in all"]),
        ({"priors": [None, 0.5, float("inf")]}, ["data row 3", "deletion prior"]),
    ],
)
def test_bad_rows_are_refused(refused, changes, words):
    values = {
        "record_ids": ["x", "y", "z"],
        "subject_ids": ["s", "t", "u"],
        "labels": [0, 1, 2],
        "features": np.zeros((3, 1, 2, 2), np.uint8),
    }
    with refused("source: ", *words):
        build_record_set(SCHEMA, where="source", **(values | changes))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_tensor_without_a_number_is_refused(refused, bad):
    schema = RecordSchema(("a",), TensorFeatures((2,), "float32"))
    features = np.zeros((3, 2), np.float32)
    features[1, 1] = bad
    with refused("source: data row 2 has NaN or infinite features"):
        build_record_set(
            schema,
            record_ids=["a", "b", "c"],
            subject_ids=["a", "b", "c"],
            labels=[0, 0, 0],
            features=features,
            where="source",
        )


@pytest.mark.parametrize(
    ("name", "values", "what"),
    [
        ("age", [1.0, np.nan], "missing value in column 'age'"),
        ("age", [1.0, None], "missing value in column 'age'"),
        ("age", [1.0, np.inf], "infinite value (float32) in column 'age'"),
        ("age", [1.0, 1e39], "infinite value (float32) in column 'age'"),
        ("town", ["x", None], "missing value in column 'town'"),
    ],
)
def test_column_without_a_value_is_refused(refused, name, values, what):
    features = {"age": [1.0, 2.0], "town": ["x", "y"]} | {name: values}
    with refused(f"source: data row 2 has a{'n' if 'inf' in what else ''} {what}"):
        make_columns(features=features)


def test_folder_without_records_is_refused(tmp_path, refused):
    with refused(tmp_path, "forgetflow data import"):
        read_record_set(tmp_path)


def test_damaged_or_foreign_part_is_refused(tmp_path, refused):
    write_record_set(make(), tmp_path, 1)
    part = tmp_path / part_name(0)
    data = part.read_bytes()
    part.write_bytes(data[:-20])
    with refused(part, "Parquet"):
        read_record_set(tmp_path)
    pq.write_table(pa.table({"a": [1]}), part)
    with refused(tmp_path, "not written by forgetflow"):
        read_record_set(tmp_path)


def test_errors_are_input_errors_with_exit_code_two():
    assert InputError.exit_code == 2
    assert VerdictError.exit_code == 3


def test_pandas_is_not_needed():
    """In a process of its own: pyarrow remembers whether it found pandas."""
    code = """
import sys

class NotInstalled:
    def find_spec(self, name, *_):
        if name == "pandas":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
import numpy as np
from forgetflow.records.record_set import build_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures
schema = RecordSchema(("a",), TensorFeatures((2,), "float32"))
records = build_record_set(
    schema,
    record_ids=["r0"],
    subject_ids=["s0"],
    labels=[0],
    features=np.ones((1, 2)),
    where="here",
)
print(records.inputs.tolist(), records.take([]).inputs.shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[[1.0, 1.0]] (0, 2)\n", done.stderr
