"""scikit-learn's digits: 1,797 real handwritten digits, 8 x 8, embedded in the package.

The data set says nothing about who wrote which digit, so consecutive runs of five images stand
in for a person (`writer-000` to `writer-359`). That is a stand-in for demonstrations and tests,
not a fact about the data.
"""

import numpy as np

from forgetflow.config.data import DataSettings
from forgetflow.records.record_set import build_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures
from forgetflow.records.sources.imported import Imported, split_by_subject

IMAGES_PER_WRITER = 5


def read(settings: DataSettings) -> Imported:
    """Read the digits; pixel values 0 to 16 become float32 0 to 1, shape (1, 8, 8)."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    schema = RecordSchema(tuple("0123456789"), TensorFeatures((1, 8, 8), "float32"))
    records = build_record_set(
        schema,
        record_ids=[f"digit-{i:04d}" for i in range(len(images))],
        subject_ids=[f"writer-{i // IMAGES_PER_WRITER:03d}" for i in range(len(images))],
        labels=labels,
        features=(images / 16.0).astype(np.float32).reshape(-1, 1, 8, 8),
        where="digits",
    )
    return split_by_subject(records, settings.test_fraction)
