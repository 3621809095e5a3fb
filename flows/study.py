"""Study flows: figures of the literature, recomputed on the user's own data."""

from collections.abc import Sequence
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
from forgetflow.files.jsonable import to_json
from forgetflow.keys.code import code_digest, module_of
from forgetflow.keys.digests import bytes_digest, digest_of
from forgetflow.pages.sharding import sharding_page
from forgetflow.partition.registry import PLACEMENTS
from forgetflow.records.record_set import read_record_set
from forgetflow.studies.builds import builds
from forgetflow.studies.grid import Grid
from forgetflow.studies.sharding import (
    Row,
    Sharding,
    cell_row,
    point_rows,
    put_together,
    sharding_files,
)
from forgetflow.training import environment
from forgetflow.training.workspace import Workspace


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
        figures=figures_of(found),
        params={
            "forget set": found.batch,
            "methods": ", ".join(compared),
            "members": str(most),
        },
    )
    return to_json(found)


@flow(name="study sharding", task_runner=task_runner())
def sharding(grid: dict[str, Any]) -> dict[str, Any]:
    """Ask SISA's questions on the project's records; writes `studies/sharding`.

    Args:
        grid: see `studies.grid.Grid`.

    Returns:
        The study, JSON-ready.
    """
    project = Project.find()
    open_slots(project)
    asked = Grid.from_json(grid)
    space = inputs.workspace(project)
    built = build_task_keys(project, space, asked)
    counted = count_task_keys(space, asked)
    futures: list[PrefectFuture[Any]] = [
        build_cell.submit(key=built[cell], shards=cell[0], slices=cell[1], seeds=asked.seeds)
        for cell in asked.cells
    ]
    futures += [
        count_cell.submit(key=counted[cell], shards=cell[0], slices=cell[1], grid=grid)
        for cell in asked.cells
    ]
    results = collect_all("study sharding", futures)
    count = len(asked.cells)
    found = put_together(
        asked,
        facts_of(project, space),
        results[:count],
        [r for rows in results[count:] for r in rows],
    )
    files = sharding_files(found) | {"sharding.html": sharding_page(found).encode()}
    write_folder(project.study("sharding"), files.items())
    log_task(
        study="sharding",
        name="study sharding",
        key=digest_of(["sharding", sorted(built.values()), sorted(counted.values())]),
        note=f"Accuracy and cost of deletions over shards, slices and requests: {len(found.cells)} "
        f"cells, {asked.seeds} builds each. Open `sharding.html` among the artifacts.",
        figures=sharding_figures(found),
        params={
            name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            for name, value in grid.items()
        },
    )
    return found.to_json()


@task(name="build cell", task_run_name="build {shards} x {slices}", **CACHED)
def build_cell(
    key: str,  # noqa: ARG001
    shards: int,
    slices: int,
    seeds: int,
) -> Row:
    """Train the ensembles of one cell in memory and return their accuracies."""
    project = Project.find()
    space = inputs.workspace(project)
    with device_slot(project):
        found = builds(space, read_record_set(project.test), shards, slices, seeds)
    seed = space.settings.run.seed
    return cell_row(space.records, seed, shards, slices, [one.to_json() for one in found])


@task(name="count cell", task_run_name="count {shards} x {slices}", **CACHED)
def count_cell(
    key: str,  # noqa: ARG001
    shards: int,
    slices: int,
    grid: dict[str, Any],
) -> list[Row]:
    """Count what drawn forget sets would train again in one cell."""
    space = inputs.workspace(Project.find())
    return point_rows(
        space.records,
        space.settings.train,
        space.settings.run.seed,
        (shards, slices),
        Grid.from_json(grid),
    )


def build_task_keys(project: Project, space: Workspace, grid: Grid) -> dict[tuple[int, int], str]:
    """Return the digest of everything that decides the builds of every cell."""
    common = {
        "records": space.records.digest,
        "test": read_record_set(project.test).digest,
        "recipe": space.recipe.for_pools().digest,
        "seeds": grid.seeds,
        "code": code_digest(module_of(builds), *map(module_of, PLACEMENTS.values())),
    }
    return {cell: digest_of(["build cell", common, list(cell)]) for cell in grid.cells}


def count_task_keys(space: Workspace, grid: Grid) -> dict[tuple[int, int], str]:
    """Return the digest of everything that decides the counts of every cell."""
    common = {
        "records": space.records.digest,
        "priors": bytes_digest(space.records.priors.tobytes()),
        "epochs": space.settings.train.epochs,
        "batch_size": space.settings.train.batch_size,
        "seed": space.settings.run.seed,
        "requests": list(grid.requests),
        "draws": grid.draws,
        "code": code_digest(module_of(point_rows), *map(module_of, PLACEMENTS.values())),
    }
    return {cell: digest_of(["count cell", common, list(cell)]) for cell in grid.cells}


def facts_of(project: Project, space: Workspace) -> dict[str, Any]:
    """Return what a reader needs to compare two studies: counts and settings."""
    settings = space.settings
    return {
        "records": len(space.records),
        "subjects": len(set(space.records.subject_ids)),
        "test_records": len(read_record_set(project.test)),
        "skewed_by": "deletion priors" if (space.records.priors > 0).any() else "1/rank",
        "seed": settings.run.seed,
        "model": settings.model.model_dump(mode="json"),
        "train": settings.train.model_dump(mode="json", exclude={"checkpoint_seconds"}),
        "environment": environment.fingerprint(space.recipe.device),
    }


def collect_all(what: str, futures: Sequence[PrefectFuture[Any]]) -> list[Any]:
    """Wait for tasks with a progress bar and return their results in order."""
    with progress_bars() as progress:
        bar = progress.add_task(what, total=len(futures))
        for future in as_completed(list(futures)):
            future.result()
            progress.advance(bar)
    return [future.result() for future in futures]


@task(name="log study")
def log_task(
    study: str, name: str, key: str, note: str, figures: dict[str, float], params: dict[str, str]
) -> str:
    """Log the study that was just written in MLflow; see `lineage.studies.log_study`."""
    from forgetflow.lineage.studies import log_study

    project = Project.find()
    return log_study(project, name, key, note, figures, params, project.study(study))


def figures_of(found: Audit) -> dict[str, float]:
    """Return the main figures of all contenders, `<contender>.<figure>` -> number."""
    figures = {}
    for contender in found.members:
        for name, (measure, group, statistic) in HEADLINES.items():
            one = found.estimate(measure, contender, group, statistic)
            if one and one.value is not None:
                figures[f"{contender.replace(' ', '_')}.{name}"] = one.value
    return figures


def sharding_figures(found: Sharding) -> dict[str, float]:
    """Return accuracies of all cells, speed-ups of uniform batches, and the check of counts."""
    figures = {f"check.{name}": float(value) for name, value in found.check.items()}
    for row in found.cells:
        cell = f"S{row['shards']}.R{row['slices']}"
        figures[f"{cell}.accuracy"] = row["accuracy_mean"]
        figures[f"{cell}.accuracy_vote"] = row["accuracy_vote"]
        figures[f"{cell}.accuracy_lone"] = row["accuracy_lone"]
    for row in found.points:
        if (row["kind"], row["mode"]) == ("uniform", "batch") and row["speedup"]:
            cell = f"S{row['shards']}.R{row['slices']}.K{row['requests']}"
            figures[f"{cell}.speedup"] = row["speedup"]
    return figures
