"""Block `train`: how one constituent is trained."""

from typing import Annotated, Literal

from pydantic import Field

from forgetflow.config.optimiser import OptimiserSettings


class TrainSettings(OptimiserSettings):
    """How one constituent is trained."""

    epochs: Annotated[float, Field(gt=0)] = Field(
        40.0, description="Passes e' over a shard that a run without slicing would make."
    )
    engine: Literal["auto", "sequential", "stacked"] = Field(
        "auto",
        description="What computes the steps: sequential (any network), stacked (mlp and "
        "logistic, many at once). Engines differ in the last bits.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="What products and convolutions are computed in; weights are float32. bfloat16 "
        "is several times as fast on a GPU with matrix units, with the engine sequential only.",
    )
    checkpoint_seconds: Annotated[float, Field(ge=0)] = Field(
        30.0,
        description="Seconds between recovery checkpoints inside a slice (0: every step). "
        "Does not change a model and is not part of its key.",
    )
    log: Literal["none", "stored"] = Field(
        "none",
        description="stored: keep what every step changed, one copy of the weights per step, for "
        "methods that roll training back. none: they train once more to know. Does not change a "
        "model and is not part of its key.",
    )
