"""Block `train`: how one constituent is trained."""

from typing import Annotated, Literal

from pydantic import Field

from forgetflow.config.base import Block, Positive


class TrainSettings(Block):
    """How one constituent is trained."""

    epochs: Annotated[float, Field(gt=0)] = Field(
        40.0, description="Passes e' over a shard that a run without slicing would make."
    )
    batch_size: Positive = Field(16, description="Records per optimizer step.")
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.05, description="Step size.")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="SGD momentum.")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="L2 coefficient.")
    engine: Literal["auto", "sequential", "stacked"] = Field(
        "auto",
        description="What computes the steps: sequential (any network), stacked (mlp and "
        "logistic, many at once). Engines differ in the last bits.",
    )
    checkpoint_seconds: Annotated[float, Field(ge=0)] = Field(
        30.0,
        description="Seconds between recovery checkpoints inside a slice (0: every step). "
        "Does not change a model and is not part of its key.",
    )
