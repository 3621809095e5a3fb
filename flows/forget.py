"""Deletion flows: one sealed batch becomes the next model generation.

    deletion ── unlearn ── evaluate ── report ── dvc commit
                   │           │
                   │           └─ oracle shards, measures, gate, ledger, MLflow
                   └─ one task per constituent, cached by content key

The same `unlearn`, `evaluate` and `report` are the DVC stages, so afterwards `dvc repro` has
nothing to do.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from prefect import flow, task

from flows import inputs
from flows.devices import open_slots
from flows.evaluate import evaluate
from flows.report import report
from flows.runner import task_runner
from flows.steps import step, steps
from flows.tasks import unlearn_all
from forgetflow.config.project import Project
from forgetflow.errors import InputError
from forgetflow.files.atomic import write_atomically
from forgetflow.requests.batches import read_batches, set_method
from forgetflow.requests.ledger import Ledger
from forgetflow.requests.states import State, batch_state
from forgetflow.training.card import write_model
from forgetflow.unlearning.registry import method_named
from forgetflow.versioning.dvc import commit_stages, has_dvc, seal_and_track


@flow(name="unlearn", flow_run_name="unlearn {batch}", task_runner=task_runner())
def unlearn(batch: str, method: str) -> str:
    """Make the model of a sealed batch, `models/<batch>`; returns its weights digest."""
    project = Project.find()
    open_slots(project)
    chosen = method_named(method, project.settings)
    receipts = unlearn_all(project, batch, method)
    deletion = inputs.deletion(project, batch)
    card = deletion.card(chosen, receipts)
    write_model(deletion.workspace.store, card, project.model(batch))
    facts = {"method": method, "guarantee": card.guarantee, "weights": card.digest}
    Ledger(project).append("unlearned", batch, facts)
    return card.digest


@flow(name="deletion")
def deletion(batch: str | None = None, method: str | None = None) -> dict[str, Any]:
    """Process one batch and those after it or, without a name, everything that waits.

    Without a name the inbox is taken in, open requests are sealed, and every batch that is not
    published yet is processed in order: events may be coalesced, so the flow looks for itself.
    Two deletion flows in one project run one after the other.

    Returns:
        Batch id -> the gate's verdict; empty when nothing waits.

    Raises:
        InputError: there is no such batch or method.
    """
    project = Project.find()
    method_named(method or project.settings.unlearn.method, project.settings)
    project.state.mkdir(exist_ok=True)
    with FileLock(project.state / "deletion.lock"):
        if batch is None:
            seal_and_track(project, method)
        batches = from_batch(project, batch) if batch else waiting(project)
        _remember(project, {*batches, *_remembered(project)})
        verdicts = _process(project, batches, method, batch) if batches else {}
        _remember(project, _remembered(project) - set(batches))
        return verdicts


def _process(
    project: Project, batches: Sequence[str], method: str | None, chosen: str | None
) -> dict[str, Any]:
    """Process batches in order, say each step, and return the gate's verdicts.

    `method` replaces that of the `chosen` batch or, where none was chosen, of all.
    """
    verdicts = {}
    each = 5 if project.settings.evaluate.oracle else 4  # unlearn, oracle, measure, audit, register
    with steps(each * len(batches) + 1 + has_dvc(project)):
        for name in batches:
            if method and name == (chosen or name):
                set_method(project, name, method)
            unlearn(name, read_batches(project)[name].method)
            verdicts[name] = evaluate(name)
        with step(project, "report", "report"):
            report()
        if has_dvc(project):
            stages = [f"{stage}@{name}" for name in batches for stage in ("forget", "evaluate")]
            with step(project, "dvc commit", "tell DVC"):
                tell_dvc(stages)
    return verdicts


@task(name="dvc commit")
def tell_dvc(stages: list[str]) -> None:
    """Tell DVC that these stages and the report are done; the same functions have just run."""
    commit_stages(Project.find(), *stages, "report")


def from_batch(project: Project, batch: str) -> list[str]:
    """Return a batch and all after it: their models come from its model."""
    batches = list(read_batches(project))
    if batch not in batches:
        raise InputError(f"no batch '{batch}'; sealed batches: {', '.join(batches) or 'none yet'}")
    return batches[batches.index(batch) :]


def waiting(project: Project) -> list[str]:
    """Return the sealed batches that are not done, oldest first.

    Those are batches that are not published, and batches of a flow that was killed after it
    published them and before it told DVC.
    """
    entries = Ledger(project).entries()
    before = {State.SEALED, State.UNLEARNED, State.VERIFIED, State.FAILED_BEFORE_PUBLISH}
    killed = _remembered(project)
    return [
        name
        for name in read_batches(project)
        if name in killed or batch_state(name, entries) in before
    ]


def _unfinished(project: Project) -> Path:
    return project.state / "unfinished.json"


def _remember(project: Project, batches: set[str]) -> None:
    """Note which batches are not done yet."""
    write_atomically(_unfinished(project), json.dumps(sorted(batches)).encode())


def _remembered(project: Project) -> set[str]:
    try:
        return set(json.loads(_unfinished(project).read_bytes()))
    except FileNotFoundError:
        return set()
