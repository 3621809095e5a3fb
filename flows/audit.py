"""Audit flow: train pools of originals, oracles and unlearned models, then judge the procedures.

Pools are kept by member in the store, so two audits share what they have in common, and a killed
one goes on where it was.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import task
from prefect.futures import as_completed

from flows.devices import device_slot, slots, uses_gpu
from flows.members import ComparisonName, comparison_named, train_members
from flows.progress import progress_bars
from flows.steps import announce, detail, made, step
from flows.tasks import CACHED
from forgetflow.audit.audit import Audit, audit_files, write_no_audit
from forgetflow.audit.context import CONTROLS, SETS
from forgetflow.audit.judge import contenders, judge, key_of, no_audit, procedures_of
from forgetflow.audit.summary import headline
from forgetflow.config.evaluate import AuditSettings
from forgetflow.config.project import Project
from forgetflow.errors import VerdictError
from forgetflow.evaluation.evaluate import Evaluation
from forgetflow.files.atomic import write_folder
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.keys.digests import digest_of
from forgetflow.pages.audit.page import audit_page
from forgetflow.pools.procedure import Procedure
from forgetflow.pools.workers import warm_workers
from forgetflow.records.record_set import read_record_set
from forgetflow.training.card import ModelCard


def audit_generation(project: Project, card: ModelCard, evaluation: Evaluation) -> dict[str, Any]:
    """Judge the procedure that made a generation and write `audit/<generation>`.

    Returns:
        `audit`: the headline of its estimates, or why there is none.
    """
    sizes = {name: evaluation.metric(f"records.{name}") or 0 for name in SETS}
    reason = no_audit(sizes, project.settings.evaluate.audit)
    folder = project.audit(card.generation)
    if reason:
        announce(reason.replace("no audit", f"no audit of {card.generation}", 1))
        write_no_audit(folder, reason)
        return {"audit": {"misbehaving": None, "reason": reason}}
    settings = project.settings.evaluate.audit
    what = f"audit {card.generation}: pools of {settings.members} models"
    with step(project, f"audit {card.method}", what, counts=True):
        found = audit(project, {"batch": card.generation}, [card.method], settings)
    write_audit(found, folder)
    return {"audit": headline(found, card.method)}


def audit(
    project: Project, name: ComparisonName, methods: Sequence[str], settings: AuditSettings
) -> Audit:
    """Judge `methods`, beside the controls, on one deletion; to be called inside a flow.

    Args:
        project: the project.
        name: the deletion; see `flows.members`.
        methods: names of unlearning methods; controls among them are not listed twice.
        settings: pool size and what the measures need.

    Raises:
        InputError: there is no such batch or method, or the batch is not for it.
    """
    comparison = comparison_named(project, name)
    names, left_out = contenders(project.settings, methods)
    procedures = procedures_of(comparison, names, settings.members)
    absent = _train_pools(name, procedures)
    made = {one: procedures[one] for one in names if one not in absent}
    test = read_record_set(project.test)
    found = judge_task(
        key=key_of(comparison, made, test, settings, absent, left_out),
        name=dict(name),
        contenders=list(made),
        absent=absent,
        notes=left_out,
        settings=settings.model_dump(mode="json"),
    )
    return from_json(Audit, found)


def write_audit(found: Audit, folder: Path) -> None:
    """Write an audit and its page, replacing the folder, completely or not at all."""
    files = audit_files(found) | {"audit.html": audit_page(found).encode()}
    write_folder(folder, files.items())


@task(name="train pool", task_run_name="train {contender} {first}", **CACHED)
def train_pool(
    key: str,  # noqa: ARG001
    name: dict[str, Any],
    contender: str,
    first: int,  # noqa: ARG001
    count: int,
    members: list[int],
) -> int:
    """Make some members of a pool."""
    project = Project.find()
    with device_slot(project):
        return compute(project, train_members, str(project.root), name, contender, count, members)


@task(name="audit", task_run_name="audit", **CACHED)
def judge_task(
    key: str,  # noqa: ARG001
    name: dict[str, Any],
    contenders: list[str],
    absent: dict[str, str],
    notes: list[str],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Compute all audit measures; the result holds aggregates only."""
    project = Project.find()
    comparison = comparison_named(project, name)
    chosen = AuditSettings.model_validate(settings)
    procedures = {c: comparison.procedure(c, chosen.members) for c in contenders}
    with device_slot(project):
        test = read_record_set(project.test)
        return to_json(judge(comparison, procedures, test, chosen, absent, notes))


def compute(project: Project, call: Callable[..., int], *arguments: Any) -> int:
    """Call here, or in a warm worker process where several compute at once on this machine."""
    local = project.settings.run.runner == "local"
    if local and not uses_gpu(project) and slots(project) > 1:
        return warm_workers(slots(project)).submit(call, *arguments).result()
    return call(*arguments)


def _train_pools(name: ComparisonName, procedures: Mapping[str, Procedure]) -> dict[str, str]:
    """Make every missing member; returns why a contender's pool cannot be had."""
    absent: dict[str, str] = {}
    with progress_bars() as progress:
        # Pools that others start from come first, so that no two tasks build the same member.
        for contender, procedure in procedures.items():
            groups = procedure.groups()
            total = sum(map(len, groups))
            made(total)
            if total:
                detail(f"pool of {contender}: {total} of {len(procedure.keys)} models to make")
            bar = progress.add_task(f"pool: {contender}", total=total)
            futures = {
                train_pool.with_options(refresh_cache=True).submit(
                    key=digest_of([procedure.keys[m] for m in group]),
                    name=dict(name),
                    contender=contender,
                    first=group[0],
                    count=len(procedure.keys),
                    members=group,
                ): group
                for group in groups
            }
            try:
                for future in as_completed(list(futures)):
                    progress.advance(bar, future.result())
            except VerdictError as error:
                if contender not in CONTROLS:
                    raise
                absent[contender] = str(error)
            progress.remove_task(bar)
    return absent
