"""SISA placement: S isolated shards of R slices (Bourtoule et al., IEEE S&P 2021, Sec. IV).

The paper cuts the data into equal parts. An equal cut moves other records when one is removed,
so here both numbers come from bounds fixed in advance and from hashes: the shard from the
subject (a person's records share one constituent), the slice from the record's own deletion
prior, then the subject. Shards are equal in expectation only; the spread is that of balls
thrown into bins, by subject.

    deletion prior     |------- band 0 -------|- band 1 -|     shard_thresholds
    shards             0                      1  2  3  4       band_shards: 1, 4

    inside band 0      |-- 0 --|-- 1 --|- 2 --|                prior_thresholds within the band
    slices             0   1     2  3    4  5                  later = cheaper to redo

Bands of shards are distribution-aware sharding (their Sec. VIII); `distribution` recommends
them. Without `shard_thresholds` there is one band, and the prior does not choose the shard.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from forgetflow.config.partition import PartitionSettings
from forgetflow.errors import InputError
from forgetflow.keys.digests import keyed_hashes
from forgetflow.partition.assignment import Assignment
from forgetflow.partition.slices import bands, slice_numbers
from forgetflow.records.record_set import RecordSet


def place(records: RecordSet, settings: PartitionSettings, seed: int) -> Assignment:
    """Return the shard and slice of every record, a function of that record alone.

    The prior picks the band, and the hash of the subject one of the band's shards. A prior equal
    to a threshold is not above it; a record without a prior counts as prior 0. Inside a band,
    only the `prior_thresholds` strictly between its own two bounds tell records apart, so that
    no slice of its shards is set aside for priors that cannot occur there.

    Raises:
        InputError: records of one subject lie in different bands, hence in different shards.
    """
    shards, slices = settings.layout
    subjects = records.subject_ids
    priors = np.nan_to_num(records.priors, nan=0.0)
    band = bands(priors, settings.shard_thresholds)
    _refuse_torn_subjects(subjects, band)

    widths = np.array(settings.band_shards or (shards,), np.uint64)
    firsts = np.cumsum(widths, dtype=np.uint64) - widths
    shard = firsts[band] + keyed_hashes(seed, "shard", subjects) % widths[band]

    pick = keyed_hashes(seed, "slice", subjects)
    part = np.zeros(len(records), np.int64)
    bounds = (-np.inf, *settings.shard_thresholds, np.inf)
    for number, (low, high) in enumerate(pairwise(bounds)):
        own = band == number
        inside = [one for one in settings.prior_thresholds if low < one < high]
        part[own] = slice_numbers(priors[own], pick[own], inside, slices)
    return Assignment(shards, slices, shard.astype(np.int64), part)


def _refuse_torn_subjects(subjects: Sequence[str], band: NDArray[np.intp]) -> None:
    first: dict[str, int] = {}
    pairs = zip(subjects, band.tolist(), strict=True)
    torn = {subject for subject, own in pairs if first.setdefault(subject, own) != own}
    if torn:
        raise InputError(
            f"{len(torn)} subject(s) have records on both sides of a bound in "
            "partition.shard_thresholds: give all records of a person the same deletion_prior"
        )
