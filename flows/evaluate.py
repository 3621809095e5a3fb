"""Evaluation flow of one generation: measure, audit, gate, publish."""

from typing import Any

from prefect import flow

from flows.audit import audit_generation
from flows.devices import open_slots
from flows.measure import measure
from flows.publish import publish
from flows.runner import task_runner
from forgetflow.config.project import Project
from forgetflow.evaluation.evaluate import with_extra, write_evaluation
from forgetflow.evaluation.gate import check_gate
from forgetflow.files.jsonable import to_json
from forgetflow.requests.batches import ORIGINAL
from forgetflow.training.card import read_card


@flow(name="evaluate", flow_run_name="evaluate {generation}", task_runner=task_runner())
def evaluate(generation: str) -> dict[str, Any]:
    """Measure a generation against parent, original and oracle; returns the gate's verdict."""
    project = Project.find()
    open_slots(project)
    card = read_card(project.model(generation))
    evaluation = measure(project, card)
    if generation != ORIGINAL:
        evaluation = with_extra(evaluation, audit_generation(project, card, evaluation))
    verdict = check_gate(
        evaluation.metrics,
        project.settings.gate,
        card.guarantee,
        int(evaluation.metric("records.forget") or 0),
        evaluation.reasons,
    )
    write_evaluation(evaluation, project.evaluation(generation), gate=verdict)
    publish(project, card, verdict)
    return to_json(verdict)
