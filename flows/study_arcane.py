"""The study of ARCANE as a flow: cached tasks for ensembles, for deletions and for orders."""

from itertools import chain
from typing import Any

from prefect import flow, task
from prefect.futures import PrefectFuture

from flows import inputs
from flows.devices import device_slot, open_slots
from flows.runner import task_runner
from flows.study import collect_all, facts_of, log_task
from flows.tasks import CACHED
from forgetflow.config.project import Project
from forgetflow.files.atomic import write_folder
from forgetflow.keys.code import code_digest, module_of
from forgetflow.keys.digests import bytes_digest, digest_of
from forgetflow.pages.arcane import arcane_page
from forgetflow.partition.registry import PLACEMENTS
from forgetflow.records.record_set import read_record_set
from forgetflow.studies.arcane import (
    ArcaneStudy,
    Row,
    arcane_files,
    deletion_rows,
    model_row,
    order_rows,
    sisa_rows,
)
from forgetflow.studies.arcane_counts import priors_of
from forgetflow.studies.arcane_grid import ArcaneGrid, Chosen, Head
from forgetflow.studies.arcane_trial import (
    Outcome,
    arcane_outcomes,
    head_settings,
    joint_settings,
    network_outcomes,
)
from forgetflow.training.recipe import Recipe
from forgetflow.training.workspace import Workspace

EVERYBODY = Chosen("all", 1.0)


@flow(name="study arcane", task_runner=task_runner())
def arcane(grid: dict[str, Any]) -> dict[str, Any]:
    """Compare ARCANE, SISA and a joint model on the project's records; writes `studies/arcane`.

    Args:
        grid: see `studies.arcane_grid.ArcaneGrid`.

    Returns:
        The study, JSON-ready.
    """
    project = Project.find()
    open_slots(project)
    asked = ArcaneGrid.from_json(grid)
    space = inputs.workspace(project)
    made_of = ingredients(project, space, asked)
    shards = len(set(space.records.labels.tolist()))
    layouts = [(1, 1), *((shards, blocks) for blocks in asked.blocks)]

    def key(*what: Any) -> str:
        return digest_of(["arcane study", made_of, what])

    def named(one: Chosen) -> dict[str, Any]:
        return {"choice": one.choice, "share": one.share}

    models: list[PrefectFuture[Any]] = [
        build_network.submit(key=key("network", s, r), shards=s, slices=r, grid=grid)
        for s, r in layouts
    ]
    models += [
        build_arcane.submit(key=key(head, named(one)), head=head, **named(one), grid=grid)
        for head in asked.heads
        for one in asked.learned
    ]
    others: list[PrefectFuture[Any]] = [
        count_deletions.submit(key=key("deletions", named(one)), **named(one), grid=grid)
        for one in asked.deleted
    ]
    others.append(count_sisa.submit(key=key("sisa"), grid=grid))
    others.append(count_orders.submit(key=key("orders"), grid=grid))
    results = collect_all("study arcane", [*models, *others])
    *counted, orders = results[len(models) :]
    found = ArcaneStudy(
        asked,
        all_facts(project, space),
        list(chain.from_iterable(results[: len(models)])),
        list(chain.from_iterable(counted)),
        orders,
    )
    files = arcane_files(found) | {"arcane.html": arcane_page(found).encode()}
    write_folder(project.study("arcane"), files.items())
    log_task(
        study="arcane",
        name="study arcane",
        key=key("study"),
        note=f"ARCANE beside SISA and a joint model: {len(found.models)} ensembles, "
        f"{asked.seeds} builds each. Open `arcane.html` among the artifacts.",
        figures=figures_of(found),
        params={
            name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            for name, value in grid.items()
        },
    )
    return found.to_json()


@task(name="build arcane", task_run_name="{head}, {choice} {share}", **CACHED)
def build_arcane(
    key: str,  # noqa: ARG001
    head: Head,
    choice: Any,
    share: float,
    grid: dict[str, Any],
) -> list[Row]:
    """Train ARCANE with one head and selection, for all numbers of blocks."""
    project, asked = Project.find(), ArcaneGrid.from_json(grid)
    space, chosen = inputs.workspace(project), Chosen(choice, share)
    with device_slot(project):
        test = read_record_set(project.test)
        found = arcane_outcomes(space.records, test, space.settings, asked, head, chosen)
    return [
        _row(head, chosen, blocks, outcomes, space)
        for blocks, outcomes in zip(asked.blocks, found, strict=True)
    ]


@task(name="build network", task_run_name="network {shards} x {slices}", **CACHED)
def build_network(
    key: str,  # noqa: ARG001
    shards: int,
    slices: int,
    grid: dict[str, Any],
) -> list[Row]:
    """Train SISA, or with one shard of one slice the joint model."""
    project, asked = Project.find(), ArcaneGrid.from_json(grid)
    space = inputs.workspace(project)
    with device_slot(project):
        test = read_record_set(project.test)
        found = network_outcomes(space.records, test, space.settings, shards, slices, asked.seeds)
    name = "joint" if (shards, slices) == (1, 1) else "sisa"
    return [_row(name, EVERYBODY, slices, found, space)]


@task(name="count deletions", task_run_name="deletions, {choice} {share}", **CACHED)
def count_deletions(
    key: str,  # noqa: ARG001
    choice: Any,
    share: float,
    grid: dict[str, Any],
) -> list[Row]:
    """Count what drawn forget sets would train again with one selection."""
    space = inputs.workspace(Project.find())
    asked = ArcaneGrid.from_json(grid)
    return deletion_rows(space.records, space.settings, asked, Chosen(choice, share))


@task(name="count sisa", **CACHED)
def count_sisa(
    key: str,  # noqa: ARG001
    grid: dict[str, Any],
) -> list[Row]:
    """Count what the same forget sets would train again with SISA."""
    space = inputs.workspace(Project.find())
    return sisa_rows(space.records, space.settings, ArcaneGrid.from_json(grid))


@task(name="count orders", **CACHED)
def count_orders(
    key: str,  # noqa: ARG001
    grid: dict[str, Any],
) -> list[Row]:
    """Count what forget sets drawn by prior would train again, for every order of blocks."""
    space = inputs.workspace(Project.find())
    return order_rows(space.records, space.settings, ArcaneGrid.from_json(grid))


def _row(name: str, chosen: Chosen, blocks: int, outcomes: list[Outcome], space: Workspace) -> Row:
    found = [one.to_json() for one in outcomes]
    return model_row(name, chosen, blocks, found, len(space.records))


def ingredients(project: Project, space: Workspace, grid: ArcaneGrid) -> dict[str, Any]:
    """Return what decides every row of the study."""
    schema, settings = space.records.schema, space.settings
    own = [head_settings(settings, grid, head) for head in grid.heads]
    recipes = [
        Recipe.from_settings(one, schema.input_shape, len(schema.class_names)).digest
        for one in (joint_settings(settings), *own)
    ]
    return {
        "records": space.records.digest,
        "priors": bytes_digest(space.records.priors.tobytes()),
        "test": read_record_set(project.test).digest,
        "recipes": recipes,
        "selection": settings.partition.selection.model_dump(mode="json"),
        "bounds": list(settings.partition.prior_thresholds),
        "grid": grid.to_json(),
        "code": code_digest(
            module_of(model_row), module_of(arcane_outcomes), *map(module_of, PLACEMENTS.values())
        ),
    }


def all_facts(project: Project, space: Workspace) -> dict[str, Any]:
    """Return what a reader needs to compare two studies: counts and settings."""
    settings = space.settings
    facts = facts_of(project, space)
    del facts["skewed_by"]
    selection = settings.partition.selection
    return facts | {
        "classes": len(set(space.records.labels.tolist())),
        "model": joint_settings(settings).model.relevant(),
        "gaussian": settings.model.gaussian.model_dump(mode="json"),
        "bins": f"{selection.bins} from {selection.low:g} to {selection.high:g}",
        "sorted_by": priors_of(space.records, settings.run.seed)[1],
    }


def figures_of(found: ArcaneStudy) -> dict[str, float]:
    """Return accuracies of all ensembles, and speed-ups of uniform batches."""
    figures = {}
    for row in found.models:
        name = f"{row['model']}.{row['selection']}{row['share']:g}.B{row['blocks']}"
        figures[f"{name}.accuracy"] = row["accuracy"]
    for row in found.deletions:
        if (row["kind"], row["mode"]) == ("uniform", "batch") and row["speedup"]:
            name = f"{row['model']}.{row['selection']}{row['share']:g}.B{row['blocks']}"
            figures[f"{name}.K{row['requests']}.speedup"] = row["speedup"]
    return figures
