"""Publication: ledger, MLflow registry, report. Every step is idempotent and alias moves come last.

Killed in between, running the same flow again completes it; nothing is registered twice.
"""

from collections.abc import Mapping
from typing import Any

from prefect import task

from flows.steps import step
from forgetflow.config.project import Project
from forgetflow.evaluation.evaluate import Evaluation, read_evaluation, read_gate
from forgetflow.evaluation.gate import GateVerdict
from forgetflow.lineage.facts import DeletionFacts, GenerationFacts
from forgetflow.requests.batches import ORIGINAL, read_batches
from forgetflow.requests.ledger import Ledger
from forgetflow.requests.states import batch_state
from forgetflow.requests.times import to_text
from forgetflow.training.card import ModelCard, read_card


def publish(project: Project, card: ModelCard, verdict: GateVerdict) -> int:
    """Write the ledger and register the model; returns its version in MLflow.

    The caller has checked the model's integrity: that is what `verified` says.
    """
    if card.generation != ORIGINAL:
        ledger = Ledger(project)
        ledger.append("verified", card.generation, {"weights": card.digest})
        ledger.append(
            "published" if verdict.passed else "failed_before_publish",
            card.generation,
            {"weights": card.digest},
        )
    with step(project, "register", f"register {card.generation}"):
        return register_task(card.generation)


def register(project: Project, generation: str) -> int:
    """Register a generation from its files, or find it; returns its version in MLflow."""
    from forgetflow.lineage.registry import register as register_generation
    from forgetflow.pages.lineage import lineage_page

    card = read_card(project.model(generation))
    folder = project.evaluation(generation)
    evaluation, verdict = read_evaluation(folder), read_gate(folder)
    batch = read_batches(project).get(generation)
    deletion = None
    if batch:
        deletion = DeletionFacts(
            batch=generation,
            records=batch.records,
            requests=batch.requests,
            manifest=batch.manifest,
            sealed_at=to_text(batch.sealed_at),
            due_at=to_text(batch.due_at),
        )
    return register_generation(
        project,
        GenerationFacts(
            card=card,
            model_folder=project.model(generation),
            metrics=_headline(evaluation, card),
            evaluation_folder=folder,
            audit_folder=project.audit(generation),
            deletion=deletion,
            gate="not checked" if verdict is None else "passed" if verdict.passed else "failed",
            state=_state(project, generation),
            cost=_numbers(evaluation.metrics.get("cost", {})),
        ),
        lineage_page,
    )


def _headline(evaluation: Evaluation, card: ModelCard) -> dict[str, float]:
    """Return every number of an evaluation under a dotted name, the model's own accuracy first."""
    own = ORIGINAL if card.generation == ORIGINAL else "unlearned"
    accuracy = evaluation.metric(f"accuracy.{own}.test")
    named = {} if accuracy is None else {"test_accuracy": float(accuracy)}
    return named | _numbers({k: v for k, v in evaluation.metrics.items() if k != "cost"})


def _numbers(tree: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found |= _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float):
            found[f"{prefix}{name}"] = float(value)
    return found


def _state(project: Project, generation: str) -> str:
    if generation == ORIGINAL:
        return "published"
    return str(batch_state(generation, Ledger(project).entries()))


@task(name="register", task_run_name="register {generation}")
def register_task(generation: str) -> int:
    """Register a generation in MLflow, or find it there."""
    return register(Project.find(), generation)
