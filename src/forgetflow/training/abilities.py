"""What trained models can be asked for beside predictions; measures ask here, by name.

    parameters   weights that gradient steps change: they can be compared, train on, and stand
                 for ignorance while they are untrained
    gradients    of predictions in the inputs

Networks have both. What another architecture lacks is listed with the reason that people read in
place of an estimate.
"""

from collections.abc import Mapping
from typing import Literal

from forgetflow.config.settings import Settings

Ability = Literal["parameters", "gradients"]

LACKS: Mapping[str, Mapping[Ability, str]] = {
    "forest": {
        "parameters": "a forest has no parameters: it is grown, not trained step by step",
        "gradients": "a forest has no gradients: its predictions are step functions of the input",
    },
    "gaussian": {
        "parameters": "a normal density has no parameters: it is fitted in closed form, not "
        "trained step by step",
    },
}
"""Architecture -> what it lacks -> why, as a sentence without its full stop."""


def lacks_of(architecture: str) -> Mapping[Ability, str]:
    """Return what models of an architecture lack; empty for networks."""
    return LACKS.get(architecture, {})


def votes(settings: Settings, shards: int) -> int | None:
    """Return how many votes a model's probabilities are shares of; None where they are no shares.

    A share may be exactly 0 or 1 and says no more than one vote can; logarithms of it need care.

    Args:
        settings: of the project.
        shards: number of shards S, empty ones included.
    """
    if settings.aggregation == "vote":
        return shards
    return settings.model.forest.trees * shards if settings.model.family == "forest" else None
