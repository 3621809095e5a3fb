"""Growing pools without Prefect: what a task, or a warm worker process, calls.

A trial is named by a small JSON value, so that every process opens it for itself:
`{"batch": "b1"}`, or `{"label": 3, "records": 40}` for a forget set that nobody asked for.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flows import opened
from forgetflow.config.project import Project
from forgetflow.pools.plan import Plan
from forgetflow.pools.trial import Trial

TrialName = Mapping[str, Any]


def trial_named(project: Project, name: TrialName) -> Trial:
    """Open a trial.

    Raises:
        InputError: there is no such batch, or no such forget set can be drawn.
    """
    space = opened.workspace(project)
    if "batch" in name:
        return Trial.of_batch(project, space, name["batch"])
    return Trial.of_sample(project, space, name["label"], name["records"])


def plan_of(root: str, name: TrialName, contender: str, count: int) -> Plan:
    """Return the plan of a contender's pool of `count` members."""
    return trial_named(Project(Path(root)), name).pool(contender, count)


def grow_members(
    root: str, name: TrialName, contender: str, count: int, members: Sequence[int]
) -> int:
    """Make those of `members` that are missing; returns how many there are now."""
    plan = plan_of(root, name, contender, count)
    plan.grow(members)
    return len(members)
