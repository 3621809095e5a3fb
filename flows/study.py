"""Study flows: results of the literature, recomputed on the user's own data."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from prefect import flow, task
from prefect.futures import PrefectFuture, as_completed

from flows import inputs
from flows.audit import audit, write_audit
from flows.devices import device_slot, open_slots
from flows.progress import progress_bars
from flows.runner import task_runner
from flows.tasks import CACHED
from forgetflow.audit.audit import Audit
from forgetflow.audit.summary import HEADLINES
from forgetflow.config.project import Project
from forgetflow.files.atomic import write_folder
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.keys.code import code_digest, module_of
from forgetflow.keys.digests import digest_of
from forgetflow.pages.arcane import arcane_page
from forgetflow.pages.forest import forest_page
from forgetflow.pages.sharding import sharding_page
from forgetflow.partition.registry import PLACEMENTS
from forgetflow.studies.protocol import Study, Trial
from forgetflow.studies.registry import STUDIES

PAGES: dict[str, Callable[[Any], str]] = {
    "sharding": sharding_page,
    "forest": forest_page,
    "arcane": arcane_page,
}


@flow(name="study methods", task_runner=task_runner())
def methods(name: dict[str, Any], compared: list[str], members: int) -> dict[str, Any]:
    """Judge several unlearning methods on one forget set; writes `studies/methods`.

    Args:
        name: the forget set; see `flows.members`.
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
    most = max(found.members.values())
    log_task(
        study="methods",
        name=f"study methods: {found.batch}",
        key=digest_of(["methods", found.facts, dict(name), compared]),
        note=f"Unlearning methods compared on: {found.batch}. {most} models per contender, beside "
        "two pools of retrained oracles. Open `audit.html` among the artifacts.",
        metrics=metrics_of(found),
        params={
            "forget set": found.batch,
            "methods": ", ".join(compared),
            "members": str(most),
        },
    )
    return to_json(found)


@flow(name="study", task_runner=task_runner())
def study(name: str, grid: dict[str, Any]) -> dict[str, Any]:
    """Run a study on the project's records; writes `studies/<name>`.

    Args:
        name: of the study; see `studies.registry`.
        grid: what is compared; see the study's `grid`.

    Returns:
        The results, JSON-ready.

    Raises:
        InputError: these records cannot fill the grid.
        VerdictError: the results say that something is not what it must be. They are written
            nevertheless.
    """
    project = Project.find()
    open_slots(project)
    one = STUDIES[name]
    asked, data = from_json(one.grid, grid), inputs.study(project)
    asked.check(data)
    trials = one.trials(data, asked)
    keys = [key_of(one, trial) for trial in trials]
    futures: list[PrefectFuture[Any]] = [
        measure_trial.submit(
            key=key,
            title=trial.title,
            study=name,
            grid=grid,
            measure=trial.measure,
            arguments=dict(trial.arguments),
            computes=trial.computes,
        )
        for trial, key in zip(trials, keys, strict=True)
    ]
    measured: dict[str, list[Any]] = {measure: [] for measure in one.measures}
    for trial, result in zip(trials, collect_all(f"study {name}", futures), strict=True):
        measured[trial.measure].append(result)
    found = one.assemble(data, asked, measured)
    files = one.files(found) | {f"{name}.html": PAGES[name](found).encode()}
    write_folder(project.study(name), files.items())
    log_task(
        study=name,
        name=f"study {name}",
        key=digest_of([name, sorted(keys)]),
        note=f"{one.note(found)} Open `{name}.html` among the artifacts.",
        metrics=one.metrics(found),
        params={
            option: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            for option, value in grid.items()
        },
    )
    one.verdict(found)
    return dict(to_json(found))


def key_of(study: Study[Any, Any], trial: Trial) -> str:
    """Return the digest of everything that decides what a trial measures."""
    places = map(module_of, PLACEMENTS.values())
    code = code_digest(module_of(study.measures[trial.measure]), *places)
    return digest_of([study.name, trial.measure, dict(trial.arguments), trial.made_of, code])


@task(name="measure trial", task_run_name="{title}", **CACHED)
def measure_trial(
    key: str,  # noqa: ARG001
    title: str,  # noqa: ARG001
    study: str,
    grid: dict[str, Any],
    measure: str,
    arguments: dict[str, Any],
    computes: bool,
) -> Any:
    """Measure one trial of a study; see `Study.measures`."""
    project, one = Project.find(), STUDIES[study]
    asked, data = from_json(one.grid, grid), inputs.study(project)
    with device_slot(project) if computes else nullcontext():
        return one.measures[measure](data, asked, **arguments)


def collect_all(what: str, futures: list[PrefectFuture[Any]]) -> list[Any]:
    """Wait for tasks with a progress bar and return their results in order."""
    with progress_bars() as progress:
        bar = progress.add_task(what, total=len(futures))
        for future in as_completed(futures):
            future.result()
            progress.advance(bar)
    return [future.result() for future in futures]


@task(name="log study")
def log_task(
    study: str, name: str, key: str, note: str, metrics: dict[str, float], params: dict[str, str]
) -> str:
    """Log the study that was just written in MLflow; see `lineage.studies.log_study`."""
    from forgetflow.lineage.studies import log_study

    project = Project.find()
    return log_study(project, name, key, note, metrics, params, project.study(study))


def metrics_of(found: Audit) -> dict[str, float]:
    """Return the main estimates of all contenders, `<contender>.<name>` -> number."""
    metrics = {}
    for contender in found.members:
        for name, (measure, group, statistic) in HEADLINES.items():
            one = found.estimate(measure, contender, group, statistic)
            if one and one.value is not None:
                metrics[f"{contender.replace(' ', '_')}.{name}"] = one.value
    return metrics
