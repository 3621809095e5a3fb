"""Measuring one generation beside its parent, the original and an oracle."""

from dataclasses import dataclass
from typing import Any

from prefect import task

from flows import inputs
from flows.devices import device_slot
from flows.steps import step
from flows.tasks import CACHED, unlearn_all
from forgetflow.config.project import Project
from forgetflow.evaluation.context import EvaluationContext
from forgetflow.evaluation.cost import costs, retrained_samples
from forgetflow.evaluation.evaluate import Evaluation, with_extra
from forgetflow.evaluation.evaluate import code as evaluation_code
from forgetflow.evaluation.evaluate import evaluate as measure_all
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


def measure(project: Project, card: ModelCard) -> Evaluation:
    """Return the metrics of a generation; its integrity is checked on the way.

    Raises:
        VerdictError: the model is not what its method makes of the records that are left.
    """
    if card.generation == ORIGINAL:
        return _run(project, card, None)
    oracle = None
    settings = project.settings.evaluate
    if settings.oracle:
        unlearn_all(project, card.generation, REFERENCE, settings.oracle_seed_offset)
        oracle = _oracle(project, card.generation)
    evaluation = _run(project, card, oracle)
    deletion = inputs.deletion(project, card.generation)
    method = method_named(card.method)
    view = deletion.view(method)
    check_integrity(view, method, card)
    cost = deletion_cost(view, jobs_of(method, view))
    space = deletion.workspace
    metrics = {
        "points": retrained_samples(
            cost.backward_samples,
            (sizes := space.assignment.take(space.learned(deletion.retain)).sizes()),
            restarts(deletion, method),
            space.recipe.train.epochs,
            closed_form_samples(space.recipe, sizes),
        ),
        "cost": costs(cost, oracle.cost if oracle else None),
    }
    return with_extra(evaluation, metrics)


@dataclass(frozen=True)
class Oracle:
    """An independent model retrained without the forget set, and what it cost."""

    card: ModelCard
    cost: Cost


def _oracle(project: Project, batch: str) -> Oracle:
    """Describe the oracle of a batch, whose constituents are in the store."""
    deletion = inputs.deletion(project, batch, project.settings.evaluate.oracle_seed_offset)
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
            "code": evaluation_code(),
        }
    )
    with step(project, "measure", f"measure {card.generation}"):
        result = measure_task(key=key, generation=card.generation, with_oracle=oracle is not None)
    return Evaluation(result["metrics"], result["reasons"], result["tables"])


@task(name="measure", task_run_name="measure {generation}", **CACHED)
def measure_task(key: str, generation: str, with_oracle: bool) -> dict[str, Any]:  # noqa: ARG001
    """Compute all measures; the result holds aggregates only."""
    project = Project.find()
    space = inputs.workspace(project)
    device = space.recipe.device
    test = read_record_set(project.test)
    with device_slot(project):
        if generation == ORIGINAL:
            models = {"original": Ensemble.load(project.model(ORIGINAL), device)}
            context = EvaluationContext(
                models, {"retain": space.records, "test": test}, project.settings
            )
        else:
            deletion = inputs.deletion(project, generation)
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
