"""Members of pools without Prefect: what a task, or a warm worker process, calls.

A comparison is named by a small JSON value, so that every process opens it for itself:
`{"batch": "b1"}`, or `{"label": 3, "records": 40}` for a forget set that nobody asked for.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flows import inputs
from forgetflow.config.project import Project
from forgetflow.pools.comparison import Comparison
from forgetflow.pools.procedure import Procedure

ComparisonName = Mapping[str, Any]


def comparison_named(project: Project, name: ComparisonName) -> Comparison:
    """Open a comparison.

    Raises:
        InputError: there is no such batch, or no such forget set can be drawn.
    """
    space = inputs.workspace(project)
    if "batch" in name:
        return Comparison.of_batch(project, space, name["batch"])
    return Comparison.of_sample(project, space, name["label"], name["records"])


def procedure_of(root: str, name: ComparisonName, contender: str, count: int) -> Procedure:
    """Return how the `count` members of a contender come about."""
    return comparison_named(Project(Path(root)), name).procedure(contender, count)


def train_members(
    root: str, name: ComparisonName, contender: str, count: int, members: Sequence[int]
) -> int:
    """Make those of `members` that are missing; returns how many there are now."""
    procedure_of(root, name, contender, count).train(members)
    return len(members)
