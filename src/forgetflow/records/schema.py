"""What a record looks like: ids, label, features, digest.

Columns of a record set, in this order:

    record_id       string    unique
    subject_id      string    the person the record is about; all records of a subject move together
    label           int64     index into `class_names`
    deletion_prior  double    probability (0 to 1) of a deletion request, null when unknown
    digest          binary[32] sha256 of the record's content
    features        fixed_shape_tensor, or one column per numeric / categorical feature

Anything fitted on records (vocabularies, scalers) would make one record depend on another, so
the encoding into network inputs here is fixed in advance: uint8 is divided by 255, floats pass
through, categories are hashed into a declared number of buckets. A frozen extractor
(`records.extractor`) is fixed too: it was fitted on other, public records.
"""

import hashlib
import json
import struct
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forgetflow.files.jsonable import from_json, to_json
from forgetflow.keys.digests import Digests, canonical_json, keyed_hash

SCHEMA_VERSION: Literal[1] = 1
RESERVED = ("record_id", "subject_id", "label", "deletion_prior", "digest")


@dataclass(frozen=True)
class TensorFeatures:
    """One dense tensor per record.

    Attributes:
        shape: per-record shape, channels first for images: (C, H, W), or (F,).
        dtype: `uint8` (divided by 255 for the network) or `float32`.
        kind: tells the features apart in JSON.
    """

    shape: tuple[int, ...]
    dtype: Literal["uint8", "float32"]
    kind: str = field(default="tensor", init=False)


@dataclass(frozen=True)
class ColumnFeatures:
    """Named numeric (double) and categorical (string) columns.

    Attributes:
        numeric: names of numeric columns.
        categorical: names of categorical columns.
        hash_buckets: network inputs per categorical column.
        kind: tells the features apart in JSON.
    """

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    hash_buckets: int
    kind: str = field(default="columns", init=False)


@dataclass(frozen=True)
class ExtractedFeatures(TensorFeatures):
    """What a frozen extractor made of every record: one vector, float32 (F,).

    Attributes:
        extractor: digest of the extractor.
        raw: what the features were before, and how they became the extractor's inputs.
        kind: tells the features apart in JSON.
    """

    extractor: str
    raw: TensorFeatures | ColumnFeatures
    kind: str = field(default="extracted", init=False)


Features = TensorFeatures | ColumnFeatures | ExtractedFeatures


@dataclass(frozen=True)
class RecordSchema:
    """Schema of a record set; stored in the metadata of every Parquet part.

    Attributes:
        class_names: names of the C classes, by label index.
        features: what the features are.
        version: of this description.
    """

    class_names: tuple[str, ...]
    features: Features
    version: Literal[1] = SCHEMA_VERSION

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one network input, without the batch dimension."""
        if isinstance(self.features, TensorFeatures):
            return self.features.shape
        columns = self.features
        return (len(columns.numeric) + len(columns.categorical) * columns.hash_buckets,)

    def to_arrow(self) -> pa.Schema:
        """Return the Arrow schema of a record set, metadata included."""
        fields = [
            pa.field("record_id", pa.string(), nullable=False),
            pa.field("subject_id", pa.string(), nullable=False),
            pa.field("label", pa.int64(), nullable=False),
            pa.field("deletion_prior", pa.float64()),
            pa.field("digest", pa.binary(32), nullable=False),
        ]
        if isinstance(self.features, TensorFeatures):
            value = {"uint8": pa.uint8(), "float32": pa.float32()}[self.features.dtype]
            fields.append(
                pa.field("features", pa.fixed_shape_tensor(value, self.features.shape), False)
            )
        else:
            fields += [pa.field(n, pa.float64(), nullable=False) for n in self.features.numeric]
            fields += [pa.field(n, pa.string(), nullable=False) for n in self.features.categorical]
        return pa.schema(fields, metadata={b"forgetflow": canonical_json(to_json(self))})

    @classmethod
    def from_arrow(cls, schema: pa.Schema) -> "RecordSchema":
        """Read the schema back from the metadata of an Arrow schema.

        Raises:
            KeyError: there is none.
            ValueError: it is not one that this version wrote.
        """
        return from_json(cls, json.loads((schema.metadata or {})[b"forgetflow"]))

    def digests(self, table: pa.Table) -> Digests:
        """Return the content digest of every row, uint8 (N, 32).

        Covers record id, subject id, label and features in a canonical binary form of our own,
        never the bytes of a file format, so that a library upgrade changes nothing. The deletion
        prior is left out: it steers placement, not content.
        """
        header = canonical_json([SCHEMA_VERSION, to_json(self.features)])
        ids = table["record_id"].to_pylist()
        subjects = table["subject_id"].to_pylist()
        labels = table["label"].to_pylist()
        out = np.empty((len(table), 32), np.uint8)
        for i, payload in enumerate(self._payloads(table)):
            digest = hashlib.sha256(header)
            for text in (ids[i], subjects[i], self.class_names[labels[i]]):
                encoded = text.encode()
                digest.update(struct.pack("<q", len(encoded)) + encoded)
            digest.update(payload)
            out[i] = np.frombuffer(digest.digest(), np.uint8)
        return out

    def inputs(self, table: pa.Table) -> NDArray[np.float32]:
        """Return the network inputs, float32 (N, *input_shape)."""
        if isinstance(self.features, TensorFeatures):
            raw = tensor_array(table)
            scale = np.float32(255.0 if self.features.dtype == "uint8" else 1.0)
            return np.ascontiguousarray(raw, np.float32) / scale
        spec = self.features
        out = np.zeros((len(table), *self.input_shape), np.float32)
        for j, name in enumerate(spec.numeric):
            out[:, j] = table[name].to_numpy()
        rows = np.arange(len(table))
        for j, name in enumerate(spec.categorical):
            first = len(spec.numeric) + j * spec.hash_buckets
            buckets = {
                v: keyed_hash(0, f"category:{name}", v) % spec.hash_buckets
                for v in table[name].unique().to_pylist()
            }
            columns = np.array([buckets[v] for v in table[name].to_pylist()], np.intp)
            out[rows, first + columns] = 1.0
        return out

    def _payloads(self, table: pa.Table) -> list[bytes]:
        if isinstance(self.features, TensorFeatures):
            little = np.dtype(self.features.dtype).newbyteorder("<")
            raw = np.ascontiguousarray(tensor_array(table), little)
            return [row.tobytes() for row in raw]
        numeric = [table[name].to_pylist() for name in self.features.numeric]
        categorical = [table[name].to_pylist() for name in self.features.categorical]
        return [
            b"".join(struct.pack("<d", column[i]) for column in numeric)
            + b"".join(
                struct.pack("<q", len(v)) + v
                for v in (column[i].encode() for column in categorical)
            )
            for i in range(len(table))
        ]


def tensor_array(table: pa.Table) -> NDArray[Any]:
    """Return the raw `features` tensor column as (N, *shape)."""
    column = table["features"].combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # an empty table keeps a chunked array
        shape = column.type.shape
        return np.empty((0, *shape), numpy_dtype(column.type))
    return column.to_numpy_ndarray()


def numpy_dtype(tensors: pa.FixedShapeTensorType) -> np.dtype[Any]:
    """Return the type of one number of a tensor column.

    Not by `to_pandas_dtype`, which does not work where pandas is not installed.
    """
    return pa.array([], tensors.value_type).to_numpy().dtype
