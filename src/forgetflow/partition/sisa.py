"""SISA placement: S isolated shards of R slices (Bourtoule et al., IEEE S&P 2021, Sec. IV).

The paper cuts the data into equal parts. An equal cut moves other records when one is removed,
so here both numbers come from hashes: the shard from the subject (a person's records share one
constituent), the slice from the record's own deletion prior, then the subject. Shards are equal
in expectation only; the spread is that of balls thrown into bins, by subject.

    deletion prior   |---- band 0 ----|-- band 1 --|- band 2 -|     bounds fixed in advance
    slices           0   1   2   3      4   5   6    7   8          later = cheaper to redo
"""

from bisect import bisect_left

import numpy as np

from forgetflow.config import PartitionSettings
from forgetflow.keys import keyed_hashes
from forgetflow.partition.assignment import Assignment
from forgetflow.records.record_set import RecordSet


def place(records: RecordSet, settings: PartitionSettings, seed: int) -> Assignment:
    """Return shard = hash(seed, subject) mod S, and a slice within the band of the prior.

    With B bands (B - 1 thresholds), band b owns slices floor(bR/B) to floor((b+1)R/B) - 1 and
    the hash of the subject picks one of them. A prior equal to a threshold is not above it; a
    record without a prior counts as prior 0.
    """
    shards, slices = settings.layout
    subjects = records.subject_ids
    shard = keyed_hashes(seed, "shard", subjects) % np.uint64(shards)
    bands = len(settings.prior_thresholds) + 1
    edges = np.array([band * slices // bands for band in range(bands + 1)], np.uint64)
    priors = np.nan_to_num(records.priors, nan=0.0)
    band = np.array([bisect_left(settings.prior_thresholds, p) for p in priors], np.intp)
    first, width = edges[:-1], np.diff(edges)
    pick = keyed_hashes(seed, "slice", subjects)
    return Assignment(
        shards,
        slices,
        shard.astype(np.int64),
        (first[band] + pick % width[band]).astype(np.int64),
    )
