"""Block `attribution`: train x query scores."""

from typing import Literal

from pydantic import Field

from forgetflow.config.base import Block, Positive


class AttributionSettings(Block):
    """Train x query scores."""

    method: Literal["auto", "grad_dot", "none"] = Field(
        "auto",
        description="auto: grad_dot where every constituent tells classes apart by gradients, "
        "none for forests and one-class models.",
    )
    queries: Positive = Field(200, description="Number of test records used as queries.")
    gradient_mib: Positive = Field(
        256,
        description="Mebibytes of per-sample gradients held at once (always at least two "
        "gradients). A smaller bound computes some of them again; scores change by rounding only.",
    )
