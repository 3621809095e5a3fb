from collections import Counter

import numpy as np
import pytest

from forgetflow.config.data import DataSettings
from forgetflow.records.sources.registry import import_records

sklearn_datasets = pytest.importorskip("sklearn.datasets")


def test_digits_are_all_there_and_split_by_writer():
    imported = import_records(DataSettings())
    train, test = imported.train, imported.test
    assert len(train) + len(test) == 1797
    assert not set(train.subject_ids) & set(test.subject_ids)
    assert 0.1 < len(test) / 1797 < 0.3
    assert set(Counter(train.subject_ids + test.subject_ids).values()) == {5, 2}
    images, labels = sklearn_datasets.load_digits(return_X_y=True)
    rows = [int(one.removeprefix("digit-")) for one in train.record_ids]
    assert train.labels.tolist() == labels[rows].tolist()
    np.testing.assert_allclose(train.inputs.reshape(len(train), 64) * 16, images[rows])
    assert train.schema.input_shape == (1, 8, 8)


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_empty_side_is_refused(refused, fraction):
    with refused("data.test_fraction", "choose another fraction"):
        import_records(DataSettings(test_fraction=fraction))
