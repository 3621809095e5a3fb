"""The study of forests as a flow: one cached task for every forest, one for every reference."""

from typing import Any

from prefect import flow, task
from prefect.futures import PrefectFuture

from flows.devices import device_slot, open_slots
from flows.runner import task_runner
from flows.study import collect_all, log_task
from flows.tasks import CACHED
from forgetflow.config.project import Project
from forgetflow.files.atomic import write_folder
from forgetflow.keys.code import code_digest, module_of
from forgetflow.keys.digests import digest_of
from forgetflow.models.forest import grid_of
from forgetflow.pages.forest import forest_page
from forgetflow.records.record_set import RecordSet, read_record_set
from forgetflow.studies.forest import ForestStudy, forest_files, put_together
from forgetflow.studies.forest_grid import ForestGrid
from forgetflow.studies.forest_trial import Material, Trial, flat, reference, trial


@flow(name="study forest", task_runner=task_runner())
def forest(grid: dict[str, Any]) -> dict[str, Any]:
    """Measure deletions from forests of the project's records; writes `studies/forest`.

    Args:
        grid: see `studies.forest_grid.ForestGrid`.

    Returns:
        The study, JSON-ready.

    Raises:
        VerdictError: a forest is not the one fit without the deleted records. The results are
            written nevertheless.
    """
    project = Project.find()
    open_slots(project)
    asked = ForestGrid.from_json(grid)
    records, test = read_record_set(project.train), read_record_set(project.test)
    asked.check(project.settings.model.forest, records, test)
    facts = facts_of(project, records, test)
    made_of = ingredients(project, facts, records, test)
    keys, others = trial_keys(made_of, asked), reference_keys(made_of, asked)
    futures: list[PrefectFuture[Any]] = [
        measure_forest.submit(key=keys[cell], depth=cell[0], number=cell[1], grid=grid)
        for cell in asked.cells
    ]
    futures += [measure_reference.submit(key=key, number=n) for n, key in enumerate(others)]
    results = collect_all("study forest", futures)
    count = len(asked.cells)
    found = put_together(
        asked, facts, [Trial.from_json(one) for one in results[:count]], results[count:]
    )
    files = forest_files(found) | {"forest.html": forest_page(found).encode()}
    write_folder(project.study("forest"), files.items())
    log_task(
        study="forest",
        name="study forest",
        key=digest_of(["forest", sorted(keys.values()), sorted(others)]),
        note=f"Deletions from forests over random layers, and by an adversary: "
        f"{found.check['compared']} forests. Open `forest.html` among the artifacts.",
        figures=figures_of(found),
        params={
            name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            for name, value in grid.items()
        },
    )
    found.require_equal()
    return found.to_json()


@task(name="measure forest", task_run_name="forest {depth} random layers, seed {number}", **CACHED)
def measure_forest(
    key: str,  # noqa: ARG001
    depth: int,
    number: int,
    grid: dict[str, Any],
) -> dict[str, Any]:
    """Fit one forest, delete from it and compare it with a refit."""
    project = Project.find()
    material = material_of(project)
    settings, seed = project.settings.model.forest, project.settings.run.seed
    with device_slot(project):
        found = trial(material, settings, ForestGrid.from_json(grid), (depth, number), seed)
    return found.to_json()


@task(name="measure reference", task_run_name="scikit-learn, seed {number}", **CACHED)
def measure_reference(
    key: str,  # noqa: ARG001
    number: int,
) -> dict[str, float]:
    """Fit scikit-learn's forest of equal size."""
    project = Project.find()
    material = material_of(project)
    settings, seed = project.settings.model.forest, project.settings.run.seed
    with device_slot(project):
        return reference(material, settings, seed + number)


def material_of(project: Project) -> Material:
    """Return the project's records as forests take them."""
    records, test = read_record_set(project.train), read_record_set(project.test)
    settings = project.settings.model.forest
    grid = grid_of(settings, flat(records).shape[1], project.root)
    return Material(records, test, grid)


def facts_of(project: Project, records: RecordSet, test: RecordSet) -> dict[str, Any]:
    """Return what a reader needs to compare two studies: counts, settings, versions."""
    import numba
    import numpy as np
    import sklearn

    return {
        "records": len(records),
        "subjects": len(set(records.subject_ids)),
        "test_records": len(test),
        "features": flat(records).shape[1],
        "classes": len(records.schema.class_names),
        "seed": project.settings.run.seed,
        "forest": project.settings.model.forest.model_dump(mode="json", exclude={"random_depth"}),
        "versions": {
            "numpy": np.__version__,
            "numba": numba.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }


def ingredients(
    project: Project, facts: dict[str, Any], records: RecordSet, test: RecordSet
) -> dict[str, Any]:
    """Return what decides every forest of the study, besides what is asked."""
    cuts = grid_of(project.settings.model.forest, facts["features"], project.root).thresholds
    return {
        "facts": facts,
        "records": records.digest,
        "test": test.digest,
        "thresholds": digest_of([cut.tolist() for cut in cuts]),
        "code": code_digest(module_of(trial)),
    }


def trial_keys(made_of: dict[str, Any], grid: ForestGrid) -> dict[tuple[int, int], str]:
    """Return the digest of everything that decides a forest and its deletions, for every cell."""
    asked = {n: v for n, v in grid.to_json().items() if n not in ("depths", "seeds")}
    return {cell: digest_of(["forest trial", made_of, asked, list(cell)]) for cell in grid.cells}


def reference_keys(made_of: dict[str, Any], grid: ForestGrid) -> list[str]:
    """Return the digest of everything that decides scikit-learn's forest, for every seed."""
    return [digest_of(["forest reference", made_of, number]) for number in range(grid.seeds)]


def figures_of(found: ForestStudy) -> dict[str, float]:
    """Return accuracies, differences and speed-ups of every number of random layers."""
    figures = {f"check.{name}": float(value) for name, value in found.check.items()}
    for row in found.depths:
        layers = f"random{row['random_depth']}"
        for name in ("accuracy", "reference_accuracy", "difference", "fit_seconds"):
            figures[f"{layers}.{name}"] = row[name]
    for row in found.deletions:
        size = f"{row['records']:.0f}" if row["kind"] == "batch" else ""
        kind = f"random{row['random_depth']}.{row['kind']}{size}"
        for name in ("speedup_rows", "speedup_seconds"):
            if row[name] is not None:
                figures[f"{kind}.{name}"] = row[name]
    return figures
