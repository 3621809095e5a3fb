"""Block `evaluate`: what is measured."""

from typing import Annotated

from pydantic import Field

from forgetflow.config.base import Block, Fraction, Positive


class RelearnSettings(Block):
    """How the forget set is learned again, to see how much of it is still there."""

    tolerance: Fraction = Field(
        0.05, description="Relearned at (1 - tolerance) of the original's accuracy on it."
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.001, description="Adam's step size.")
    batch_size: Positive = Field(64, description="Records of the training set per step.")
    max_steps: Positive = Field(300, description="Steps after which a run counts as censored.")
    members: Positive = Field(5, description="Models per contender that relearn.")


class InversionSettings(Block):
    """Model inversion: gradient ascent on the input for a forgotten class."""

    steps: Positive = Field(100, description="Steps on each input.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.05, description="Adam's step size.")
    starts: Positive = Field(4, description="Random starting inputs per class and model.")
    members: Positive = Field(2, description="Models per contender that are inverted.")


class AuditSettings(Block):
    """Pools of models by which a procedure is judged, beside two pools of oracles."""

    members: Annotated[int, Field(ge=0, strict=True)] = Field(
        16,
        description="Models per contender M; 0: no audit. A pool costs M full trainings, kept by "
        "member. KLoM is only trustworthy from 80 on.",
    )
    min_records: Positive = Field(
        20,
        description="Smaller forget sets are not audited: estimates of a handful of records say "
        "nothing, and come close to being about persons.",
    )
    easydub: bool = Field(False, description="Also report KLoM as EasyDUB computes it.")
    relearn: RelearnSettings = RelearnSettings()
    inversion: InversionSettings = InversionSettings()


class EvaluateSettings(Block):
    """What is measured."""

    oracle: bool = Field(
        True,
        description="Retrain an independent oracle without the batch for comparison: the cost of "
        "one full training. Without it the membership bound of the gate is skipped.",
    )
    oracle_seed_offset: Positive = Field(
        1,
        description="Added to run.seed for the independent oracle retrained without the batch.",
    )
    attack_folds: Annotated[int, Field(ge=2, strict=True)] = Field(
        5, description="Cross-validation folds of the membership-inference attack."
    )
    audit: AuditSettings = AuditSettings()
