"""What an audit sees: pools of models per contender, and the record sets to compare them on.

    contenders   oracle          retrained without the forget set: the reference
                 second oracle   the same again under other seeds: the noise floor
                 original        the first build; it has learned from the forget set
                 none            the parent unchanged (no-op)
                 finetune        parent trained on with the retain set
                 ascent          parent trained on against the forget set
                 <method>        procedures under audit
    sets         retain, forget, test

Members of different contenders never share a seed with an oracle: equal seeds correlate margins
and flatter a method.

Shapes: M members of a contender, N records of a set, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from forgetflow.config.evaluate import AuditSettings
from forgetflow.records.record_set import RecordSet
from forgetflow.training.abilities import Ability

ORACLE = "oracle"
FLOOR = "second oracle"
ORIGINAL = "original"
CONTROLS = (ORIGINAL, "none", "finetune", "ascent")
"""Contenders that every audit has, apart from the two oracles."""

SETS = ("retain", "forget", "test")

MAX_MARGIN = 100.0
"""Margins are clipped to +-100 (Georgiev et al. 2024 and EasyDUB)."""


class Contender(Protocol):
    """Models of one procedure, one per seed."""

    @property
    def members(self) -> int:
        """Number of models M."""

    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return class probabilities, float64 (M, N, C), for inputs (N, *input_shape)."""

    @property
    def votes(self) -> int | None:
        """Number of votes that probabilities are shares of; None where they are no shares."""

    @property
    def lacks(self) -> Mapping[Ability, str]:
        """What its models lack, and why."""

    def network(self, member: int) -> nn.Module:
        """Return a fresh copy of one model, in evaluation mode, on the CPU or GPU it computes on.

        It maps inputs (B, *input_shape) to log-probabilities (B, C), is differentiable as far as
        it does not lack `gradients` or `parameters`, and changing it changes nothing else.
        """


@dataclass(frozen=True, eq=False)
class AuditContext:
    """Contenders, record sets and settings of one audit.

    Attributes:
        contenders: by name; `oracle` and `second oracle` are always there, in listing order.
        sets: record sets by name, all of `SETS`; none is empty.
        untrained: networks with initial weights only, the teachers of ZRF.
        settings: block `evaluate.audit` of params.yaml.
        seed: run seed, for draws of the measures themselves.
    """

    contenders: Mapping[str, Contender]
    sets: Mapping[str, RecordSet]
    untrained: Contender
    settings: AuditSettings
    seed: int = 0
    _cache: dict[tuple[Contender, str], NDArray[np.float64]] = field(
        default_factory=dict, repr=False
    )
    _margins: dict[tuple[Contender, str], NDArray[np.float64]] = field(
        default_factory=dict, repr=False
    )

    def __post_init__(self) -> None:
        missing = [name for name in (ORACLE, FLOOR) if name not in self.contenders]
        missing += [name for name in SETS if name not in self.sets or not len(self.sets[name])]
        if missing:
            raise ValueError(f"an audit needs {', '.join(missing)}")

    @property
    def names(self) -> list[str]:
        """All contenders but the oracle."""
        return [name for name in self.contenders if name != ORACLE]

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return len(self.sets["test"].schema.class_names)

    def members(self, contender: str) -> int:
        """Number of models of a contender."""
        return self.contenders[contender].members

    def lacks(self, ability: Ability) -> str:
        """Return why contenders do not have what a measure needs; empty if all have it."""
        found = (one.lacks.get(ability, "") for one in self.contenders.values())
        return next((reason for reason in found if reason), "")

    @property
    def votes(self) -> int | None:
        """Least number of votes that a contender's probabilities are shares of, or None."""
        return min((one.votes for one in self.contenders.values() if one.votes), default=None)

    def labels(self, name: str) -> NDArray[np.int64]:
        """Return the class of every record of a set, (N,)."""
        return self.sets[name].labels

    def probabilities(self, contender: str, name: str) -> NDArray[np.float64]:
        """Return the class probabilities of a contender on a set, float64 (M, N, C)."""
        pool = self.contenders[contender]
        if (pool, name) not in self._cache:  # all sets at once: a member is read only once
            sizes = np.cumsum([len(self.sets[one]) for one in SETS])[:-1]
            everything = np.concatenate([self.sets[one].inputs for one in SETS])
            parts = np.split(pool.probabilities(everything), sizes, axis=1)
            self._cache.update({(pool, one): part for one, part in zip(SETS, parts, strict=True)})
        return self._cache[pool, name]

    def smoothed(self, contender: str, name: str) -> NDArray[np.float64]:
        """Return `probabilities` of which logarithms can be taken, float64 (M, N, C).

        Those of networks as they are. Shares of V votes are often exactly 0 or 1, which one
        vote more could have changed: they get one that is spread evenly over the C classes.
        """
        return smooth(self.probabilities(contender, name), self.votes)

    def margins(self, contender: str, name: str) -> NDArray[np.float64]:
        """Return ln p_y - ln sum_{j != y} p_j of every record, (M, N), clipped to +-100.

        Equal to the logit margin z_y - logsumexp_{j != y} z_j of a single network; of shares,
        those of `smoothed`.
        """
        place = (self.contenders[contender], name)
        if place not in self._margins:
            probabilities = self.smoothed(contender, name)
            self._margins[place] = margins(probabilities, self.labels(name))
        return self._margins[place]

    def predictions(self, contender: str, name: str) -> NDArray[np.intp]:
        """Return the predicted classes, (M, N); ties go to the lowest class index."""
        return self.probabilities(contender, name).argmax(axis=2)

    def correct(self, contender: str, name: str) -> NDArray[np.bool_]:
        """Return which records each member predicts right, (M, N)."""
        return self.predictions(contender, name) == self.labels(name)

    def losses(self, contender: str, name: str) -> NDArray[np.float64]:
        """Return the cross-entropy of each record in nats, (M, N), at most `MAX_MARGIN`.

        Of shares, that of `smoothed`.
        """
        probabilities = self.smoothed(contender, name)
        own = probabilities[:, np.arange(probabilities.shape[1]), self.labels(name)]
        with np.errstate(divide="ignore"):
            return np.clip(-np.log(own), 0.0, MAX_MARGIN)


def smooth(probabilities: NDArray[np.float64], votes: int | None) -> NDArray[np.float64]:
    """Return (V p + 1/C) / (V + 1) for shares p, (..., C), of V votes; p itself without votes."""
    if votes is None:
        return probabilities
    return (votes * probabilities + 1 / probabilities.shape[-1]) / (votes + 1)


def margins(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return ln p_y - ln sum_{j != y} p_j, (M, N), for probabilities (M, N, C), clipped."""
    where = np.arange(len(labels))
    own = probabilities[:, where, labels]
    others = probabilities.copy()
    others[:, where, labels] = 0.0  # summed apart: 1 - p_y would cancel near certainty
    with np.errstate(divide="ignore"):
        margin = np.log(own) - np.log(others.sum(axis=2))
    return np.clip(margin, -MAX_MARGIN, MAX_MARGIN)
