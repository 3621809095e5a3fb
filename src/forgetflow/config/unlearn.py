"""Block `unlearn`: what a new batch uses, and the settings of each method."""

from typing import Annotated

from pydantic import Field

from forgetflow.config.base import Block


class FinetuneSettings(Block):
    """Control method `finetune`: further training on the retain set only."""

    epochs: Annotated[float, Field(ge=0)] = Field(5.0, description="Passes over the retain set.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.01, description="Step size.")


class AscentSettings(Block):
    """Control method `ascent`: gradient ascent on the forget set only."""

    epochs: Annotated[float, Field(ge=0)] = Field(5.0, description="Passes over the forget set.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.05, description="Step size.")


class UnlearnSettings(Block):
    """Which method a new batch uses unless it says otherwise, and each method's own block."""

    method: str = Field("sisa", description="What a new batch uses.")
    finetune: FinetuneSettings = FinetuneSettings()
    ascent: AscentSettings = AscentSettings()
