"""How an optimizer takes its steps: in `train`, and in the blocks of methods that train further."""

from typing import Annotated, Literal

from pydantic import Field

from forgetflow.config.base import Block, Positive


class OptimiserSettings(Block):
    """What one optimizer step does."""

    optimizer: Literal["sgd", "adam"] = Field("sgd", description="Rule of the steps.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.05, description="Step size.")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="SGD momentum.")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="L2 coefficient.")
    batch_size: Positive = Field(16, description="Records per optimizer step.")
