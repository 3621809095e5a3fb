"""How large a forest is and how its splits are chosen."""

from pydantic import BaseModel, ConfigDict, Field


class ForestSettings(BaseModel):
    """Settings of a forest; with grid, classes and records they determine every byte.

    Attributes:
        trees: number of trees.
        max_depth: number of splits above the deepest leaf, at most.
        random_depth: number of layers, from the root, whose splits are drawn without looking at
            labels (d_rmax of Brophy and Lowd); they are the costly ones to grow again.
        thresholds: number of valid thresholds tried per feature (their k); nodes of more than 64
            rows try proportionally fewer.
        features: number of splittable features tried per node (their p); none: the root of
            the number of features, rounded down.
        min_leaf: number of rows, at least, on either side of a split.
        share: fraction of the records, drawn by digest, that each tree learns from
            (occurrence rate q of DynFrs, Wang et al. 2025).
        seed: seed of all draws.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    trees: int = Field(default=100, ge=1, le=100_000)
    max_depth: int = Field(default=20, ge=0, le=10_000)
    random_depth: int = Field(default=0, ge=0)
    thresholds: int = Field(default=8, ge=1)
    features: int | None = Field(default=None, ge=1)
    min_leaf: int = Field(default=1, ge=1)
    share: float = Field(default=1.0, gt=0.0, le=1.0)
    seed: int = 0
