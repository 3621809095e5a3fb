"""Block `partition`: who learns what."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from forgetflow.config.base import Block, Fraction, Positive


class SelectionSettings(Block):
    """Which records of a class its one-class model learns from (ARCANE)."""

    mode: Literal["none", "threshold", "joint"] = Field(
        "none",
        description="none: all of them; threshold: those whose own information entropy reaches "
        "`threshold`; joint: the `share` that surprises the others of the class most.",
    )
    threshold: Annotated[float, Field(ge=0)] = Field(
        0.0, description="Least entropy of a record's values, nats (threshold)."
    )
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="Proportion of each class that is kept (joint)."
    )
    bins: Annotated[int, Field(ge=2, le=256, strict=True)] = Field(
        16, description="Bins that the values are counted in, between low and high."
    )
    low: float = Field(0.0, description="Lower end of the values' range; smaller ones count here.")
    high: float = Field(1.0, description="Upper end of the values' range; larger ones count here.")
    frozen: bool = Field(
        False,
        description="joint: keep the first choice after deletions. Nothing is chosen again, but "
        "the choice remembers the forgotten: deletions are then approximate, not exact.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, not {self.low} and {self.high}")
        if self.frozen and self.mode != "joint":
            raise ValueError("frozen is for mode joint; the other modes never choose again")
        return self


class PartitionSettings(Block):
    """Who learns what."""

    method: Literal["monolith", "sisa", "arcane"] = Field(
        "sisa",
        description="monolith: one shard of one slice; sisa: S shards of R slices; arcane: a "
        "shard per class, of R slices, for one-class models.",
    )
    shards: Positive = Field(10, description="Number of shards S (constituent models) of sisa.")
    slices: Positive = Field(4, description="Number of slices R per shard.")
    prior_thresholds: tuple[Fraction, ...] = Field(
        (),
        description="Ascending deletion-prior bounds, fixed in advance; records above a bound go "
        "to later slices of their shard. Empty: the prior does not choose the slice.",
    )
    shard_thresholds: tuple[Fraction, ...] = Field(
        (),
        description="Ascending deletion-prior bounds, fixed in advance, that cut subjects into "
        "bands with shards of their own; `forgetflow plan --layout` recommends some. Empty: the "
        "prior does not choose the shard.",
    )
    band_shards: tuple[Positive, ...] = Field(
        (),
        description="Number of shards of each band, lowest prior first; one number more than "
        "shard_thresholds, together S. Empty: one band of S shards.",
    )
    aggregation: Literal["mean", "vote"] = Field(
        "mean",
        description="Mean prediction vector, or label majority vote (ties: lowest class); "
        "one-class models are combined by their scores instead.",
    )
    selection: SelectionSettings = SelectionSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.method != "arcane" and self.selection.mode != "none":
            raise ValueError(
                f"selection chooses records of a class for its model: use method arcane, or "
                f"selection.mode none with {self.method}"
            )
        if self.method == "arcane" and (self.shard_thresholds or self.band_shards):
            raise ValueError(
                "arcane has one shard per class: leave shard_thresholds and band_shards empty"
            )
        for name in ("prior_thresholds", "shard_thresholds"):
            bounds = getattr(self, name)
            if list(bounds) != sorted(set(bounds)):
                raise ValueError(f"{name} must be strictly ascending")
        bounds = self.prior_thresholds
        if self.method != "monolith" and len(bounds) + 1 > self.slices:
            raise ValueError(
                f"{len(bounds)} prior_thresholds make {len(bounds) + 1} bands and need at least "
                f"as many slices, not {self.slices}"
            )
        bands = len(self.shard_thresholds) + 1
        if len(self.band_shards) != bands and (self.shard_thresholds or self.band_shards):
            raise ValueError(
                f"{bands - 1} shard_thresholds make {bands} band(s): band_shards must have "
                f"{bands} number(s), not {len(self.band_shards)}"
            )
        if self.band_shards and sum(self.band_shards) != self.shards:
            raise ValueError(
                f"band_shards make {sum(self.band_shards)} shards: set shards to that, "
                f"not to {self.shards}"
            )
        return self

    @property
    def layout(self) -> tuple[int, int]:
        """(S, R) of monolith and sisa; the monolith is one shard of one slice."""
        return (1, 1) if self.method == "monolith" else (self.shards, self.slices)
