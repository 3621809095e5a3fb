"""What a model generation promises towards a build without the forgotten records."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Unit = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Guarantee(StrEnum):
    """The kinds of promises, strongest first."""

    EXACT = "exact"
    CERTIFIED = "certified"
    APPROXIMATE = "approximate"


class _Promise(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Exact(_Promise):
    """The weights equal those of a build without the forgotten records, byte for byte."""

    kind: Literal[Guarantee.EXACT] = Guarantee.EXACT


class Certified(_Promise):
    """The model is (epsilon, delta)-indistinguishable from a build without the forgotten records.

    Attributes:
        epsilon, delta: the budget of the lineage, fixed when the original was trained.
        spent_epsilon, spent_delta: what all deletions up to this generation have used of it.
    """

    kind: Literal[Guarantee.CERTIFIED] = Guarantee.CERTIFIED
    epsilon: Unit
    delta: Unit
    spent_epsilon: Unit
    spent_delta: Unit


class Approximate(_Promise):
    """No promise, only evidence."""

    kind: Literal[Guarantee.APPROXIMATE] = Guarantee.APPROXIMATE


Promise = Annotated[Exact | Certified | Approximate, Field(discriminator="kind")]


def promise_of(guarantee: Guarantee) -> Exact | Approximate:
    """Return the promise of a guarantee that has no numbers.

    Raises:
        ValueError: a certified one has, and only its method knows them.
    """
    if guarantee is Guarantee.CERTIFIED:
        raise ValueError("a certified promise has a budget: its method states it")
    return Exact() if guarantee is Guarantee.EXACT else Approximate()
