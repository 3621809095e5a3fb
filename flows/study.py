"""Study flows: figures of the literature, recomputed on the user's own data."""

from typing import Any

from prefect import flow, task

from flows.audit import audit
from flows.devices import open_slots
from flows.growing import TrialName
from flows.runner import task_runner
from forgetflow.evaluation.audit.audit import Audit, read_audit, write_audit
from forgetflow.evaluation.audit.summary import HEADLINES
from forgetflow.keys import digest_of
from forgetflow.project import Project


@flow(name="study methods", task_runner=task_runner())
def methods(name: dict[str, Any], compared: list[str], members: int) -> dict[str, Any]:
    """Judge several unlearning methods on one forget set; writes `studies/methods`.

    Args:
        name: the forget set; see `flows.growing`.
        compared: names of methods.
        members: models per contender.

    Returns:
        The audit, JSON-ready.
    """
    project = Project.find()
    open_slots(project)
    settings = project.settings.evaluate.audit.model_copy(update={"members": members})
    found = audit(project, name, compared, settings)
    write_audit(found, project.study("methods"))
    log_task(name=dict(name), compared=compared)
    return found.to_json()


@task(name="log study")
def log_task(name: TrialName, compared: list[str]) -> str:
    """Log the study that was just written in MLflow."""
    from forgetflow.lineage.studies import log_study

    project = Project.find()
    folder = project.study("methods")
    found = read_audit(folder)
    if found is None:
        raise RuntimeError(f"{folder} holds no study: it was removed while it was being logged")
    members = max(found.members.values())
    return log_study(
        project,
        f"study methods: {found.batch}",
        digest_of(["methods", found.facts, dict(name), compared]),
        f"Unlearning methods compared on: {found.batch}. {members} models per contender, beside "
        "two pools of retrained oracles. Open `audit.html` among the artifacts.",
        figures_of(found),
        {"forget set": found.batch, "methods": ", ".join(compared), "members": str(members)},
        folder,
    )


def figures_of(found: Audit) -> dict[str, float]:
    """Return the main figures of all contenders, `<contender>.<figure>` -> number."""
    figures = {}
    for contender in found.members:
        for name, (measure, group, statistic) in HEADLINES.items():
            figure = found.figure(measure, contender, group, statistic)
            if figure and figure.value is not None:
                figures[f"{contender.replace(' ', '_')}.{name}"] = figure.value
    return figures
