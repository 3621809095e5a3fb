"""ARCANE placement: one shard per class, in blocks (Yan et al., IJCAI 2022).

Every class is learned by a one-class model of its own, so a deletion touches the models of the
deleted records' classes only, and a class that goes takes its model with it. Blocks are slices as
SISA has them: sorted by deletion prior through bounds fixed in advance, chosen by the subject's
hash within a bound. The paper cuts sorted records into equal blocks; an equal cut would move other
records when one is removed.

Which records of a class are learned from at all is `selection`'s business.
"""

import numpy as np

from forgetflow.config.partition import PartitionSettings
from forgetflow.keys.digests import keyed_hashes
from forgetflow.partition.assignment import Assignment
from forgetflow.partition.slices import slice_numbers
from forgetflow.records.record_set import RecordSet


def place(records: RecordSet, settings: PartitionSettings, seed: int) -> Assignment:
    """Return class and block of every record, a function of that record alone."""
    pick = keyed_hashes(seed, "slice", records.subject_ids)
    priors = np.nan_to_num(records.priors, nan=0.0)
    block = slice_numbers(priors, pick, settings.prior_thresholds, settings.slices)
    classes = len(records.schema.class_names)
    return Assignment(classes, settings.slices, records.labels.astype(np.int64), block)
