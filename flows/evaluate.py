"""Evaluation flow: measure one generation, check the gate, register and publish."""

from dataclasses import dataclass
from typing import Any

from prefect import flow, task

from flows import opened
from flows.audit import audit, write_audit
from flows.devices import device_slot, open_slots
from flows.publish import publish
from flows.runner import task_runner
from flows.tasks import CACHED, unlearn_all
from forgetflow.audit.audit import write_no_audit
from forgetflow.audit.context import SETS as AUDITED
from forgetflow.audit.summary import headline
from forgetflow.config.project import Project
from forgetflow.evaluation.context import EvaluationContext
from forgetflow.evaluation.evaluate import Evaluation, with_extra, write_evaluation
from forgetflow.evaluation.evaluate import evaluate as measure_all
from forgetflow.evaluation.gate import check_gate
from forgetflow.evaluation.points import costs, points
from forgetflow.evaluation.registry import MEASURES
from forgetflow.keys.code import code_digest, module_of
from forgetflow.keys.digests import digest_of
from forgetflow.records.record_set import read_record_set
from forgetflow.requests.batches import ORIGINAL
from forgetflow.training.card import ModelCard, read_card
from forgetflow.training.ensemble import Ensemble
from forgetflow.training.work import closed_form_samples
from forgetflow.unlearning.cost import Cost, cost_of
from forgetflow.unlearning.protocol import jobs_of
from forgetflow.unlearning.registry import method_named
from forgetflow.unlearning.runner import check_integrity, deletion_cost, restarts

REFERENCE = "retrain"
"""The method that makes oracles."""


@flow(name="evaluate", flow_run_name="evaluate {generation}", task_runner=task_runner())
def evaluate(generation: str) -> dict[str, Any]:
    """Measure a generation against parent, original and oracle; returns the gate's verdict."""
    project = Project.find()
    open_slots(project)
    card = read_card(project.model(generation))
    evaluation = _with_audit(project, card, _measure(project, card))
    verdict = check_gate(
        evaluation.metrics,
        project.settings.gate,
        card.guarantee,
        int(evaluation.figure("records.forget") or 0),
        evaluation.reasons,
    )
    write_evaluation(evaluation, project.evaluation(generation), gate=verdict)
    publish(project, card, verdict)
    return verdict.to_json()


def _with_audit(project: Project, card: ModelCard, evaluation: Evaluation) -> Evaluation:
    """Judge the procedure that made a generation, write `audit/<generation>`, add its headline."""
    if card.generation == ORIGINAL:
        return evaluation
    reason = _no_audit(project, evaluation)
    folder = project.audit(card.generation)
    if reason:
        write_no_audit(folder, reason)
        return with_extra(evaluation, {"audit": {"misbehaving": None, "reason": reason}})
    settings = project.settings.evaluate.audit
    found = audit(project, {"batch": card.generation}, [card.method], settings)
    write_audit(found, folder)
    return with_extra(evaluation, {"audit": headline(found, card.method)})


def _no_audit(project: Project, evaluation: Evaluation) -> str | None:
    """Return why no audit can be made, or None."""
    if not project.settings.evaluate.audit.members:
        return "no audit: evaluate.audit.members is 0"
    few = evaluation.figure("records.forget") or 0
    if few < project.settings.evaluate.audit.min_records:
        return f"no audit: {few} forgotten records are fewer than evaluate.audit.min_records"
    empty = [name for name in AUDITED if not evaluation.figure(f"records.{name}")]
    if empty:
        return f"no audit: there are no {' and no '.join(empty)} records"
    return None


def _measure(project: Project, card: ModelCard) -> Evaluation:
    if card.generation == ORIGINAL:
        return _run(project, card, None)
    oracle = None
    settings = project.settings.evaluate
    if settings.oracle:
        unlearn_all(project, card.generation, REFERENCE, settings.oracle_seed_offset)
        oracle = _oracle(project, card.generation)
    evaluation = _run(project, card, oracle)
    deletion = opened.deletion(project, card.generation)
    method = method_named(card.method)
    view = deletion.view(method)
    check_integrity(view, method, card)
    cost = deletion_cost(view, jobs_of(method, view))
    space = deletion.workspace
    figures = {
        "points": points(
            cost.backward_samples,
            (sizes := space.assignment.take(space.learned(deletion.retain)).sizes()),
            restarts(deletion, method),
            space.recipe.train.epochs,
            closed_form_samples(space.recipe, sizes),
        ),
        "cost": costs(cost, oracle.cost if oracle else None),
    }
    return with_extra(evaluation, figures)


@dataclass(frozen=True)
class Oracle:
    """An independent model retrained without the forget set, and what it cost."""

    card: ModelCard
    cost: Cost


def _oracle(project: Project, batch: str) -> Oracle:
    """Describe the oracle of a batch, whose constituents are in the store."""
    deletion = opened.deletion(project, batch, project.settings.evaluate.oracle_seed_offset)
    method = method_named(REFERENCE)
    jobs = jobs_of(method, deletion.view(method))
    store = deletion.workspace.store
    receipts = {job.shard: receipt for job in jobs if (receipt := store.receipt(job.key))}
    keys = [key for job in jobs for key in job.fresh]
    return Oracle(deletion.card(method, receipts), cost_of(store, keys))


def _run(project: Project, card: ModelCard, oracle: Oracle | None) -> Evaluation:
    settings = project.settings.evaluate
    key = digest_of(
        {
            "model": card.digest,
            "generation": card.generation,
            "retain": card.retain_digest,
            "parent": read_card(project.model(card.parent)).digest if card.parent else None,
            "original": read_card(project.model(ORIGINAL)).digest,
            "oracle": oracle.card.digest if oracle else None,
            "test": read_record_set(project.test).digest,
            "settings": settings.model_dump(mode="json"),
            "code": code_digest(module_of(measure_all), *map(module_of, MEASURES.values())),
        }
    )
    result = measure_task(key=key, generation=card.generation, with_oracle=oracle is not None)
    return Evaluation(result["metrics"], result["reasons"], result["tables"])


@task(name="measure", task_run_name="measure {generation}", **CACHED)
def measure_task(key: str, generation: str, with_oracle: bool) -> dict[str, Any]:  # noqa: ARG001
    """Compute all measures; the result holds aggregates only."""
    project = Project.find()
    space = opened.workspace(project)
    device = space.recipe.device
    test = read_record_set(project.test)
    with device_slot(project):
        if generation == ORIGINAL:
            models = {"original": Ensemble.load(project.model(ORIGINAL), device)}
            context = EvaluationContext(
                models, {"retain": space.records, "test": test}, project.settings
            )
        else:
            deletion = opened.deletion(project, generation)
            models = {
                "unlearned": Ensemble.load(project.model(generation), device),
                "parent": Ensemble.load(project.model(deletion.parent.generation), device),
                "original": Ensemble.load(project.model(ORIGINAL), device),
            }
            if with_oracle:
                oracle = _oracle(project, generation)
                models["oracle"] = Ensemble.from_store(oracle.card, space.store, device)
            context = EvaluationContext(
                models,
                {
                    "retain": space.records.take(deletion.retain),
                    "forget": space.records.take(deletion.forget),
                    "test": test,
                },
                project.settings,
            )
        found = measure_all(context)
    return {"metrics": found.metrics, "reasons": found.reasons, "tables": found.tables}
