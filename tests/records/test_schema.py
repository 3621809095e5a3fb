import hashlib
import json
import struct

import numpy as np
import pyarrow as pa
import pytest

from forgetflow.files.jsonable import from_json, to_json
from forgetflow.keys.digests import keyed_hash
from forgetflow.records.record_set import build_record_set
from forgetflow.records.schema import ColumnFeatures, RecordSchema, TensorFeatures, tensor_array

TENSOR = RecordSchema(("no", "yes"), TensorFeatures((1, 2, 2), "uint8"))
COLUMNS = RecordSchema(("no", "yes"), ColumnFeatures(("age",), ("town",), 4))


def tensors(**changes):
    values = {
        "record_ids": ["r1", "r2"],
        "subject_ids": ["s1", "s2"],
        "labels": [0, 1],
        "features": np.arange(8, dtype=np.uint8).reshape(2, 1, 2, 2),
    }
    return build_record_set(TENSOR, where="t", **(values | changes))


def columns(**changes):
    values = {
        "record_ids": ["r1", "r2"],
        "subject_ids": ["s1", "s2"],
        "labels": [0, 1],
        "features": {"age": [30.0, 40.5], "town": ["Oslo", "Bern"]},
    }
    return build_record_set(COLUMNS, where="t", **(values | changes))


@pytest.mark.parametrize("schema", [TENSOR, COLUMNS])
def test_schema_round_trips(schema):
    assert from_json(RecordSchema, json.loads(json.dumps(to_json(schema)))) == schema
    assert RecordSchema.from_arrow(schema.to_arrow()) == schema


def test_schema_of_a_foreign_table_is_refused():
    with pytest.raises(KeyError):
        RecordSchema.from_arrow(pa.schema([("a", pa.int64())]))


def test_digest_is_the_documented_binary_form():
    """Written out by hand: the form must outlive every library."""
    records = columns()
    header = b'[1,{"categorical":["town"],"hash_buckets":4,"kind":"columns","numeric":["age"]}]'
    message = header
    for text in (b"r2", b"s2", b"yes"):
        message += struct.pack("<q", len(text)) + text
    message += struct.pack("<d", 40.5) + struct.pack("<q", 4) + b"Bern"
    assert records.digests[1].tobytes() == hashlib.sha256(message).digest()

    header = b'[1,{"dtype":"uint8","kind":"tensor","shape":[1,2,2]}]'
    message = header
    for text in (b"r1", b"s1", b"no"):
        message += struct.pack("<q", len(text)) + text
    assert tensors().digests[0].tobytes() == hashlib.sha256(message + bytes([0, 1, 2, 3])).digest()


@pytest.mark.parametrize("one", ["record_ids", "subject_ids", "labels", "features"])
def test_digest_sees_one_change_in_one_record(one):
    changed_value = {
        "record_ids": ["r1", "r3"],
        "subject_ids": ["s1", "s3"],
        "labels": [0, 0],
        "features": np.array([0, 1, 2, 3, 4, 5, 6, 8], np.uint8).reshape(2, 1, 2, 2),
    }
    before, after = tensors(), tensors(**{one: changed_value[one]})
    assert (before.digests != after.digests).any(axis=1).tolist() == [False, True]
    assert before.digest != after.digest


@pytest.mark.parametrize(
    "features",
    [
        {"age": [30.0, 40.25], "town": ["Oslo", "Bern"]},
        {"age": [30.0, 40.5], "town": ["Oslo", "Bonn"]},
        {"age": [30.0, np.nextafter(40.5, 41)], "town": ["Oslo", "Bern"]},
    ],
)
def test_digest_sees_one_change_in_a_column(features):
    changed = (columns().digests != columns(features=features).digests).any(axis=1)
    assert changed.tolist() == [False, True]


def test_digest_does_not_confuse_neighbouring_texts():
    one = tensors(record_ids=["ab", "x"], subject_ids=["c", "y"])
    other = tensors(record_ids=["a", "x"], subject_ids=["bc", "y"])
    assert (one.digests[0] != other.digests[0]).any()


def test_digest_leaves_the_prior_out():
    assert (tensors().digests == tensors(priors=[0.5, None]).digests).all()


def test_inputs_divide_bytes_and_pass_floats():
    assert tensors().inputs.dtype == np.float32
    np.testing.assert_array_equal(
        tensors().inputs.ravel(), np.arange(8, dtype=np.float32) / np.float32(255)
    )
    schema = RecordSchema(("no", "yes"), TensorFeatures((3,), "float32"))
    raw = np.array([[-1.5, 0, 1e9]], np.float32)
    records = build_record_set(
        schema, record_ids=["a"], subject_ids=["a"], labels=[0], features=raw, where="t"
    )
    np.testing.assert_array_equal(records.inputs, raw)


def test_inputs_hash_categories_into_fixed_buckets():
    inputs = columns().inputs
    assert COLUMNS.input_shape == (5,)
    assert inputs.shape == (2, 5)
    for row, (age, town) in enumerate([(30.0, "Oslo"), (40.5, "Bern")]):
        expected = np.zeros(5, np.float32)
        expected[0] = age
        expected[1 + keyed_hash(0, "category:town", town) % 4] = 1
        np.testing.assert_array_equal(inputs[row], expected)


def test_inputs_of_a_record_do_not_depend_on_the_others():
    records = columns()
    np.testing.assert_array_equal(records.take(np.array([1])).inputs[0], records.inputs[1])


def test_empty_set_keeps_its_shape():
    empty = tensors().take(np.array([], int))
    assert empty.inputs.shape == (0, 1, 2, 2)
    assert tensor_array(empty.table).shape == (0, 1, 2, 2)
    assert empty.digests.shape == (0, 32)
    assert columns().take(np.zeros(2, bool)).inputs.shape == (0, 5)
