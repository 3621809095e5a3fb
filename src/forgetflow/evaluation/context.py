"""What a measure sees: models to compare, record sets to compare them on, and settings.

Probabilities are computed once per (model, set) and shared by all measures.

    models   unlearned   the model under evaluation
             parent      the model it was unlearned from
             oracle      retrained without the forget set, under another seed
             original    the first build, which is evaluated alone
    sets     retain, forget, test

Any of them may be absent; a measure says so instead of guessing.

Shapes: N records of a set, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from forgetflow.config.settings import Settings
from forgetflow.records.record_set import RecordSet
from forgetflow.training.ensemble import Ensemble, probabilities_of

MODELS = ("unlearned", "original", "parent", "oracle")
"""Model names in the order in which metrics are listed."""

SETS = ("retain", "forget", "test")
"""Record sets in the order in which metrics are listed."""

MAX_LOSS = 100.0
"""Losses are cut here: a vote without a single vote for the label has an infinite one."""


class Predictor(Protocol):
    """What is needed of a model: `Ensemble` has it."""

    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return class probabilities, float64 (N, C), for inputs (N, *input_shape)."""


@dataclass(frozen=True, eq=False)
class EvaluationContext:
    """Models, record sets and settings of one evaluation.

    Attributes:
        models: predictors by name, a part of `MODELS`.
        sets: record sets by name, a part of `SETS`.
        settings: `params.yaml`.
    """

    models: Mapping[str, Predictor]
    sets: Mapping[str, RecordSet]
    settings: Settings
    _cache: dict[tuple[str, str], NDArray[np.float64]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        unknown = [*(set(self.models) - set(MODELS)), *(set(self.sets) - set(SETS))]
        if unknown:
            raise ValueError(f"no such model or set: {', '.join(sorted(unknown))}")

    @property
    def model_names(self) -> list[str]:
        """Names of the models that are here, in the order of `MODELS`."""
        return [name for name in MODELS if name in self.models]

    @property
    def set_names(self) -> list[str]:
        """Names of the sets that are here, in the order of `SETS`."""
        return [name for name in SETS if name in self.sets]

    def size(self, name: str) -> int:
        """Return the number of records of a set; an absent set has none."""
        return len(self.sets[name]) if name in self.sets else 0

    def probabilities(self, model: str, name: str) -> NDArray[np.float64]:
        """Return the class probabilities of a model on a set, float64 (N, C)."""
        place = (model, name)
        if place not in self._cache:
            records, asked = self.sets[name], self.models[model]
            if not len(records):
                self._cache[place] = np.empty((0, len(records.schema.class_names)))
            elif isinstance(asked, Ensemble) and asked.networks:
                self._predict_together(name)
            else:
                self._cache[place] = asked.probabilities(records.inputs)
        return self._cache[place]

    def _predict_together(self, name: str) -> None:
        """Let all ensembles predict a set: most of their constituents are the same."""
        ensembles = {
            model: one
            for model, one in self.models.items()
            if isinstance(one, Ensemble) and one.networks
        }
        found = probabilities_of(list(ensembles.values()), self.sets[name].inputs)
        self._cache.update(zip(((model, name) for model in ensembles), found, strict=True))

    def predictions(self, model: str, name: str) -> NDArray[np.intp]:
        """Return the predicted classes, (N,); ties go to the lowest class index."""
        return self.probabilities(model, name).argmax(axis=1)

    def correct(self, model: str, name: str) -> NDArray[np.bool_]:
        """Return which records are predicted right, bool (N,)."""
        return self.predictions(model, name) == self.sets[name].labels

    def losses(self, model: str, name: str) -> NDArray[np.float64]:
        """Return the cross-entropy of each record in nats, (N,), at most `MAX_LOSS`.

        It is -ln of the aggregated probability of the record's label.
        """
        probabilities = self.probabilities(model, name)
        own = probabilities[np.arange(len(probabilities)), self.sets[name].labels]
        with np.errstate(divide="ignore"):
            return np.clip(-np.log(own), 0.0, MAX_LOSS)
