"""What a data source returns, and the subject-wise split for sources without a test set."""

from dataclasses import dataclass

import numpy as np

from forgetflow.errors import InputError
from forgetflow.keys.digests import keyed_hashes
from forgetflow.records.record_set import RecordSet


@dataclass(frozen=True)
class Imported:
    """A training set and a test set that share one schema and no subject split between them."""

    train: RecordSet
    test: RecordSet


def split_by_subject(records: RecordSet, test_fraction: float) -> Imported:
    """Hold out whole subjects, chosen by the hash of the subject id alone.

    A subject's side therefore never depends on who else is in the data.

    Raises:
        InputError: one side would be empty.
    """
    hashes = keyed_hashes(0, "test split", records.subject_ids)
    held_out = hashes < np.uint64(min(int(test_fraction * 2**64), 2**64 - 1))
    split = Imported(train=records.take(~held_out), test=records.take(held_out))
    if not len(split.train) or not len(split.test):
        raise InputError(
            f"data.test_fraction {test_fraction} leaves {len(split.train)} training and "
            f"{len(split.test)} test records; choose another fraction or give a test set"
        )
    return split
