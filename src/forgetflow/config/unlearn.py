"""Block `unlearn`: what a new batch uses, and the settings of each method."""

from typing import Annotated

from pydantic import Field

from forgetflow.config.base import Block, Fraction
from forgetflow.config.optimiser import OptimiserSettings


class FinetuneSettings(Block):
    """Control method `finetune`: further training on the retain set only."""

    epochs: Annotated[float, Field(ge=0)] = Field(5.0, description="Passes over the retain set.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.01, description="Step size.")


class AscentSettings(Block):
    """Control method `ascent`: gradient ascent on the forget set only."""

    epochs: Annotated[float, Field(ge=0)] = Field(5.0, description="Passes over the forget set.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.05, description="Step size.")


class BadTeacherSettings(Block):
    """Method `bad_teacher`: imitate an untrained network on the forget set."""

    epochs: Annotated[float, Field(ge=0)] = Field(
        10.0, description="Passes over the forget set and the share of the retain set."
    )
    retain_share: Fraction = Field(
        0.3, description="Share of the retain set that keeps the student like the parent, 0 to 1."
    )
    temperature: Annotated[float, Field(gt=0)] = Field(
        1.0, description="Logits of teachers and student are divided by it."
    )
    optimiser: OptimiserSettings = OptimiserSettings(optimizer="adam", learning_rate=0.001)


class SsdSettings(Block):
    """Method `ssd`: dampen the weights that matter more to the forget set than to all records."""

    selection: Annotated[float, Field(ge=0)] = Field(
        10.0,
        description="Weights are dampened whose importance to the forget set is more than this "
        "many times that to all records (alpha).",
    )
    dampening: Annotated[float, Field(ge=0)] = Field(
        1.0,
        description="Weights keep this times the ratio of both importances (lambda).",
    )


class UnlearnSettings(Block):
    """Which method a new batch uses unless it says otherwise, and each method's own block."""

    method: str = Field("sisa", description="What a new batch uses.")
    finetune: FinetuneSettings = FinetuneSettings()
    ascent: AscentSettings = AscentSettings()
    bad_teacher: BadTeacherSettings = BadTeacherSettings()
    ssd: SsdSettings = SsdSettings()
