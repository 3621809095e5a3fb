"""What a measure is.

A measure returns aggregates only: nothing it hands out may hold an id, a feature or the loss of
a single record. A metric that cannot be had is None, and a string under the key `reason` stands
beside it, in the same mapping.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from forgetflow.evaluation.context import EvaluationContext
from forgetflow.files.formats import Row

SMALLEST_GROUP = 5
"""Statistics of losses and probabilities over fewer records are withheld: they would come close
to the values of single records."""


class Measure(Protocol):
    """One file, one class, one registry line, one test."""

    name: ClassVar[str]

    def measure(self, context: EvaluationContext) -> dict[str, Any]:
        """Return model -> metrics: nested mappings of numbers, None and reasons."""

    def tables(self, context: EvaluationContext) -> Mapping[str, list[Row]]:
        """Return file name -> rows for plots; every row has the same columns."""
