"""What random requests cost on a placement as it is: exact expectations, whatever the sizes.

`forecast` holds the closed forms for equal shards, equal slices and equal chances. Here nothing
is assumed equal. Subjects ask, not records: the records of a subject leave together, and
subjects differ in number of records and in deletion prior.

State (s, j) is shard s after slices 0 to j. It is trained again if somebody leaves who has a
record in these slices, on what is then left of them, so that its expected cost is

    e (E[records left] - records * P(nobody leaves)),    e = 2e'/(R+1)  (Eq. 1 of SISA).

Every result is in *records passed through training*, as in `forecast`; the trainer's rounding
to whole steps and mini-batches is not in it.

Notation:
    - N: records, M: subjects, S: shards, R: slices per shard
    - e': epochs that a run without slicing makes
    - arrays (S, R) are of states, hence cumulative over slices
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forgetflow.errors import InputError
from forgetflow.partition.assignment import Assignment

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Population:
    """M subjects and their N records on a placement.

    Attributes:
        assignment: shard and slice of each record.
        subject: which subject each record is of, 0 to M - 1 in the order of their ids, int (N,).
        member: a row for every subject and shard that has records of it: the subject, int (P,).
        home: the shard of each row, int (P,).
        first: the earliest slice with a record of the subject, int (P,).
    """

    assignment: Assignment
    subject: NDArray[np.int64]
    member: NDArray[np.int64]
    home: NDArray[np.int64]
    first: NDArray[np.int64]

    @classmethod
    def of(cls, assignment: Assignment, subject_ids: Sequence[str]) -> "Population":
        """Return the population of N records with these subject ids."""
        subject = np.unique(np.array(subject_ids, str), return_inverse=True)[1].astype(np.int64)
        pairs, row = np.unique(subject * assignment.shards + assignment.shard, return_inverse=True)
        first = np.full(len(pairs), assignment.slices, np.int64)
        np.minimum.at(first, row, assignment.slice)
        return cls(
            assignment, subject, pairs // assignment.shards, pairs % assignment.shards, first
        )

    def __len__(self) -> int:
        """Return M."""
        return int(self.subject.max(initial=-1)) + 1

    def records(self, weights: Floats | None = None) -> Floats:
        """Return the summed weights (default 1 each) of the records of every state, (S, R)."""
        placed = self.assignment
        return self._states(placed.shard, placed.slice, np.ones(1) if weights is None else weights)

    def subjects(self, weights: Floats | None = None) -> Floats:
        """Return the summed weights (M,) of the subjects with a record in every state, (S, R)."""
        own = np.ones(1) if weights is None else weights[self.member]
        return self._states(self.home, self.first, own)

    def _states(self, shard: NDArray[np.int64], part: NDArray[np.int64], weights: Floats) -> Floats:
        found = np.zeros((self.assignment.shards, self.assignment.slices))
        np.add.at(found, (shard, part), weights)
        return np.cumsum(found, axis=1)


def batch(people: Population, priors: Floats, epochs: float) -> float:
    """Return the expected cost of all requests served together.

    Subject u leaves with chance p_u, independently of others; P(nobody leaves) is the product of
    1 - p_u over the subjects of a state.

    Args:
        people: the population.
        priors: p_u, (M,).
        epochs: e'.

    Raises:
        InputError: a prior is no probability.
    """
    stays = 1 - _checked(people, priors)
    with np.errstate(divide="ignore"):
        nobody = np.exp(people.subjects(np.log(stays)))
    return _cost(people, people.records(stays[people.subject]), nobody, epochs)


def sequential(people: Population, priors: Floats, epochs: float) -> float:
    """Return the expected cost of all requests served one after another, in random order.

    When u leaves, a record of v != u is still there with chance 1 - p_v / 2: v may have left
    before. A state costs sum_u p_u (records of others in it), which the products of sums below
    count, less the terms where u is v.

    Args and raises like `batch`.
    """
    leaves = _checked(people, priors)
    left = 1 - leaves / 2
    own = people.records((leaves * left)[people.subject])
    others = people.subjects(leaves) * people.records(left[people.subject]) - own
    return _per_state(people, epochs) * float(others.sum())


def drawn(people: Population, requests: int, epochs: float, *, full: bool = False) -> float:
    """Return the expected cost of `requests` subjects drawn at random, served together.

    Args:
        people: the population.
        requests: number of subjects drawn without replacement, 0 to M.
        epochs: e'.
        full: train every state again, also those nobody leaves.

    Raises:
        InputError: more requests than subjects.
    """
    chance = untouched(people, requests)
    left = people.records() * (1 - requests / max(len(people), 1))
    return _cost(people, left, np.zeros_like(chance) if full else chance, epochs)


def untouched(people: Population, requests: int) -> Floats:
    """Return the chance of every state that none of `requests` random subjects is in it, (S, R).

    With m subjects in a state it is C(M - m, K) / C(M, K). Raises like `drawn`.
    """
    total = len(people)
    if not 0 <= requests <= total:
        raise InputError(f"requests must be between 0 and {total}, not {requests}")
    outside = total - people.subjects()
    chance = np.ones_like(outside)
    for number in range(requests):
        chance *= np.maximum(outside - number, 0) / (total - number)
    return chance


def _cost(people: Population, left: Floats, nobody: Floats, epochs: float) -> float:
    return _per_state(people, epochs) * float((left - people.records() * nobody).sum())


def _per_state(people: Population, epochs: float) -> float:
    return 2 * epochs / (people.assignment.slices + 1)


def _checked(people: Population, priors: Floats) -> Floats:
    if priors.shape != (len(people),) or not ((priors >= 0) & (priors <= 1)).all():
        raise InputError(f"priors must be {len(people)} probabilities, one for each subject")
    return priors
