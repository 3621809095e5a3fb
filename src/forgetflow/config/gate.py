"""Block `gate`: what a model must hold to be published."""

from typing import Annotated

from pydantic import Field

from forgetflow.config.base import Block, Fraction, Positive


class GateSettings(Block):
    """What a model must hold before it is published. A bound of null is not checked."""

    min_test_accuracy: Fraction | None = Field(0.8, description="Test accuracy, 0 to 1.")
    max_test_accuracy_drop: Fraction | None = Field(
        0.05, description="Largest drop of test accuracy against the parent model, 0 to 1."
    )
    max_membership_gap: Fraction | None = Field(
        0.2,
        description="Largest |attack AUC - oracle's attack AUC|, two-sided, 0 to 1.",
    )
    max_ulira_accuracy: Fraction | None = Field(
        0.6,
        description="Largest U-LiRA accuracy on the forget set, 0.5 (chance) to 1; the lower end "
        "of its 95 % interval is held against it.",
    )
    max_klom_p95: Annotated[float, Field(ge=0)] | None = Field(
        None,
        description="Largest KLoM on the forget set (95th percentile), nats; skipped below 80 "
        "members, where the estimate is inflated.",
    )
    controls: bool = Field(
        True,
        description="The audit's controls must behave; where doing nothing cannot be told from "
        "retraining, approximate methods fail.",
    )
    min_forget_records: Positive = Field(
        20,
        description="Forget sets smaller than this are too small for the bounds on membership, "
        "U-LiRA, KLoM and controls.",
    )
