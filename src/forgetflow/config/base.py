"""How a block of settings is made: immutable, and closed to keys it does not know."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
# Strict, because `shards: yes` would otherwise mean one shard. Other numbers stay lenient:
# YAML reads 1e-3 as text.
Positive = Annotated[int, Field(ge=1, strict=True)]


class Block(BaseModel):
    """A block of settings: immutable, and closed to keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
