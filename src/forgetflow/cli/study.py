"""`forgetflow study`: published comparisons, recomputed on the project's own data."""

from typing import TYPE_CHECKING, Annotated

import typer

from forgetflow.cli.console import Json, emit, table
from forgetflow.config.project import Project
from forgetflow.errors import InputError, VerdictError
from forgetflow.files.jsonable import from_json, to_json

if TYPE_CHECKING:
    from forgetflow.audit.audit import Audit
    from forgetflow.studies.arcane import ArcaneStudy
    from forgetflow.studies.forest import ForestStudy
    from forgetflow.studies.sharding import Sharding

study = typer.Typer(help="Recompute published results on your data.", no_args_is_help=True)


@study.command()
def methods(
    batch: Annotated[str | None, typer.Option(help="Forget what this batch forgets.")] = None,
    label: Annotated[str | None, typer.Option(help="Forget records of this class.")] = None,
    records: Annotated[int | None, typer.Option(help="Forget that many of them, drawn.")] = None,
    compare: Annotated[
        str, typer.Option(help="Methods, separated by commas; controls always take part.")
    ] = "sisa",
    members: Annotated[int, typer.Option(help="Models per contender.", min=2)] = 100,
    as_json: Json = False,
) -> None:
    """Judge unlearning methods by pools of models, beside controls and two pools of oracles.

    Results: studies/methods/audit.html, audit.json, audit.csv and a run in MLflow.

    Example: forgetflow study methods --label 8 --records 40 --compare sisa,finetune
    """
    from flows.runtime import ensure_server
    from forgetflow.unlearning.registry import method_named

    compared = [name.strip() for name in compare.split(",") if name.strip()]
    project = Project.find()
    for name in compared:
        method_named(name, project.settings)
    trial = _trial(project, batch, label, records)
    ensure_server(project)
    from flows.study import methods as flow
    from forgetflow.audit.audit import Audit

    found = from_json(Audit, flow(trial, compared, members))
    emit(to_json(found), as_json, lambda: _shown(found, project))
    if found.misbehaving:
        raise VerdictError(
            "controls misbehave, so this study says nothing: "
            + "; ".join(control.sentence for control in found.misbehaving)
        )


@study.command()
def sharding(
    shards: Annotated[str, typer.Option(help="Values of S, by commas.")] = "1,2,5,10,20",
    slices: Annotated[str, typer.Option(help="Values of R, by commas.")] = "1,4,10",
    requests: Annotated[str, typer.Option(help="Values of K, by commas.")] = "1,5,10,50",
    seeds: Annotated[int, typer.Option(help="Builds of every (S, R).")] = 3,
    draws: Annotated[int, typer.Option(help="Forget sets drawn for every K.")] = 1000,
    as_json: Json = False,
) -> None:
    """Compare accuracy and cost of deletions over shards, slices and requests (SISA's questions).

    Results: studies/sharding/sharding.html, three CSV files, sharding.json and a run in MLflow.

    Example: forgetflow study sharding --shards 1,5,20 --slices 1,4 --requests 1,10
    """
    from flows import inputs
    from flows.runtime import ensure_server
    from forgetflow.studies.grid import Grid

    grid = Grid.of(
        _numbers("shards", shards),
        _numbers("slices", slices),
        _numbers("requests", requests),
        seeds,
        draws,
    )
    project = Project.find()
    grid.check(inputs.workspace(project).records)
    ensure_server(project)
    from flows.study import sharding as flow
    from forgetflow.studies.sharding import Sharding

    found = Sharding.from_json(flow(grid.to_json()))
    emit(found.to_json(), as_json, lambda: _sharding_shown(found, project))


@study.command()
def forest(
    depths: Annotated[str, typer.Option(help="Random layers, by commas.")] = "0,1,2,3,4,5",
    seeds: Annotated[int, typer.Option(help="Forests of every number of random layers.")] = 3,
    singles: Annotated[int, typer.Option(help="Records deleted one by one.")] = 100,
    rounds: Annotated[int, typer.Option(help="Deletions by the adversary.")] = 2,
    candidates: Annotated[int, typer.Option(help="Records it takes the costliest of.")] = 1000,
    batches: Annotated[str, typer.Option(help="Records deleted together, by commas.")] = "10,100",
    subjects: Annotated[int, typer.Option(help="People deleted with all their records.")] = 3,
    as_json: Json = False,
) -> None:
    """Compare what deletions from a forest cost over random layers, and at their worst (DaRE).

    The forest is the one of `model.forest` in params.yaml, whatever `model.architecture` says.

    Results: studies/forest/forest.html, two CSV files, forest.json and a run in MLflow.

    Example: forgetflow study forest --depths 0,2,4 --seeds 5 --candidates 1000
    """
    from flows.runtime import ensure_server
    from forgetflow.models.forest import library
    from forgetflow.records.record_set import read_record_set
    from forgetflow.studies.forest_grid import ForestGrid

    grid = ForestGrid.of(
        _numbers("depths", depths),
        seeds=seeds,
        singles=singles,
        rounds=rounds,
        candidates=candidates,
        batches=_numbers("batches", batches),
        subjects=subjects,
    )
    library()
    project = Project.find()
    sets = (read_record_set(folder) for folder in (project.train, project.test))
    grid.check(project.settings.model.forest, *sets)
    ensure_server(project)
    from flows.study_forest import forest as flow
    from forgetflow.studies.forest import ForestStudy

    found = ForestStudy.from_json(flow(grid.to_json()))
    emit(found.to_json(), as_json, lambda: _forest_shown(found, project))


def _forest_shown(found: "ForestStudy", project: Project) -> str:
    from forgetflow.cli.console import percent
    from forgetflow.pages.numbers import pp

    rows = []
    for row in found.depths:
        costs = [found.deletion(row["random_depth"], kind) for kind in ("single", "worst")]
        rows.append(
            [
                row["random_depth"],
                percent(row["accuracy"]),
                pp(row["difference"], row["difference_sd"]),
                *(
                    None if cost[name] is None else f"{cost[name]:.0f}x"
                    for cost in costs
                    for name in ("speedup_rows", "speedup_seconds")
                ),
            ]
        )
    heads = ["random layers", "accuracy", "to scikit-learn (pp)", "one record: rows", "time"]
    heads += ["adversary: rows", "time"]
    check, page = found.check, project.study("forest") / "forest.html"
    said = (
        f"Speed-ups are over a refit. {check['equal']} of {check['compared']} forests are "
        "byte-equal to a fit without the deleted records."
    )
    if found.caution:
        said = f"{said}\n{found.caution}."
    return f"{table(heads, rows)}\n\n{said}\n\nPage: {page.relative_to(project.root)}"


@study.command()
def arcane(  # noqa: PLR0913, PLR0917 - one option of the command line each
    heads: Annotated[str, typer.Option(help="One-class models.")] = "gaussian,autoencoder",
    shares: Annotated[
        str, typer.Option(help="Shares that are selected; 1 always is one.")
    ] = "0.5,0.3",
    blocks: Annotated[str, typer.Option(help="Values of B, by commas.")] = "1,5,10",
    requests: Annotated[str, typer.Option(help="Values of K, by commas.")] = "1,5,20",
    seeds: Annotated[int, typer.Option(help="Builds of every ensemble.")] = 3,
    draws: Annotated[int, typer.Option(help="Forget sets drawn for every K.")] = 200,
    hidden: Annotated[str, typer.Option(help="Units of the autoencoder's encoder.")] = "32",
    rate: Annotated[
        float | None, typer.Option(help="The autoencoder's learning rate; default the project's.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare one-class models per class with SISA and one model (ARCANE): accuracy, deletions.

    Takes the project's records and its `train` settings, whatever `partition.method` says.

    Results: studies/arcane/arcane.html, three CSV files, arcane.json and a run in MLflow.

    Example: forgetflow study arcane --heads gaussian --shares 0.5 --requests 1,10
    """
    from flows import inputs
    from flows.runtime import ensure_server
    from forgetflow.studies.arcane_grid import ArcaneGrid

    grid = ArcaneGrid.of(
        [one.strip() for one in heads.split(",") if one.strip()],
        _fractions("shares", shares),
        _numbers("blocks", blocks),
        _numbers("requests", requests),
        seeds=seeds,
        draws=draws,
        hidden=_numbers("hidden", hidden),
        rate=rate,
    )
    project = Project.find()
    space = inputs.workspace(project)
    grid.check(space.records, space.settings.partition.selection)
    ensure_server(project)
    from flows.study_arcane import arcane as flow
    from forgetflow.studies.arcane import ArcaneStudy

    found = ArcaneStudy.from_json(flow(grid.to_json()))
    emit(found.to_json(), as_json, lambda: _arcane_shown(found, project))


def _arcane_shown(found: "ArcaneStudy", project: Project) -> str:
    from forgetflow.cli.console import percent

    most = found.grid.requests[-1]
    gains = {
        (row["kind"], *(row[name] for name in ("model", "selection", "share", "blocks"))): row
        for row in found.deletions
        if (row["requests"], row["mode"]) == (most, "batch")
    }
    rows = []
    for row in found.models:
        cell = tuple(row[name] for name in ("model", "selection", "share", "blocks"))
        costs = [gains.get((kind, *cell)) for kind in ("uniform", "class")]
        rows.append(
            [
                *cell,
                percent(row["accuracy"]),
                f"{100 * (row['accuracy'] - found.joint['accuracy']):+.1f}",
                *(f"{c['speedup']:.1f}x" if c and c["speedup"] else None for c in costs),
            ]
        )
    page = project.study("arcane") / "arcane.html"
    heads = ["model", "learned from", "alpha", "B", "accuracy", "to joint"]
    heads += [f"K={most} uniform", f"K={most} in a class"]
    said = (
        "Speed-ups are over training all records that are left from nothing; alpha = 1 is without "
        "selection, which saves by learning from fewer records."
    )
    return f"{table(heads, rows)}\n\n{said}\n\nPage: {page.relative_to(project.root)}"


def _fractions(name: str, text: str) -> list[float]:
    try:
        return [float(one) for one in text.split(",") if one.strip()]
    except ValueError:
        raise InputError(f"--{name} takes numbers by commas, not '{text}'") from None


def _numbers(name: str, text: str) -> list[int]:
    try:
        return [int(one) for one in text.split(",") if one.strip()]
    except ValueError:
        raise InputError(f"--{name} takes whole numbers by commas, not '{text}'") from None


def _sharding_shown(found: "Sharding", project: Project) -> str:
    from forgetflow.cli.console import percent

    few, many = found.grid.requests[0], found.grid.requests[-1]
    speedups = {
        (row["shards"], row["slices"], row["requests"]): row["speedup"]
        for row in found.points
        if (row["kind"], row["mode"]) == ("uniform", "batch")
    }
    rows = []
    for row in found.cells:
        cell = row["shards"], row["slices"]
        gains = [speedups[(*cell, number)] for number in (few, many)]
        rows.append(
            [
                *cell,
                *(percent(row[f"accuracy_{name}"]) for name in ("mean", "vote", "lone")),
                *(f"{gain:.1f}x" for gain in gains),
            ]
        )
    heads = ["S", "R", "mean", "vote", "lone shard", f"speed-up K={few}", f"speed-up K={many}"]
    check, page = found.check, project.study("sharding") / "sharding.html"
    said = (
        f"{check['within']:.0f} of {check['compared']:.0f} counted means lie within 3 sigma of "
        f"their expectation (about {check['by_chance']:.1f} outside would be chance)."
    )
    return f"{table(heads, rows)}\n\n{said}\n\nPage: {page.relative_to(project.root)}"


def _trial(
    project: Project, batch: str | None, label: str | None, records: int | None
) -> dict[str, object]:
    from flows.members import comparison_named
    from forgetflow.records.record_set import read_record_set
    from forgetflow.requests.batches import read_batches

    if batch and (label or records):
        raise InputError("--batch names a forget set already: leave out --label and --records")
    if batch:
        batches = read_batches(project)
        if batch not in batches:
            known = ", ".join(batches) or "none yet"
            raise InputError(f"no batch '{batch}'; sealed batches: {known}")
        return {"batch": batch}
    if label is None and records is None:
        raise InputError("say what to forget: --batch B, --label C, --records N, or both of them")
    number = None
    if label is not None:
        names = read_record_set(project.train).schema.class_names
        if label not in names:
            raise InputError(f"--label {label}: no such class; known: {', '.join(names)}")
        number = names.index(label)
    trial: dict[str, object] = {"label": number, "records": records}
    comparison_named(project, trial)
    return trial


def _shown(found: "Audit", project: Project) -> str:
    from forgetflow.audit.summary import HEADLINES

    shown = ("ulira", "klom_p95", "gaussian_p95", "js", "tow")
    rows = []
    for contender in found.members:
        cells = []
        for name in shown:
            measure, group, statistic = HEADLINES[name]
            one = found.estimate(measure, contender, group, statistic)
            cells.append(f"{one.value:.3g}" if one and one.value is not None else None)
        rows.append([contender, *cells, f"{100 * found.costs[contender]['of_retrain']:.0f} %"])
    page = project.study("methods") / "audit.html"
    heads = ["contender", "U-LiRA", "KLoM p95", "Gaussian KL", "JS (bits)", "ToW", "cost"]
    verdict = "\n".join(f"{c.contender}: {c.sentence}" for c in found.controls)
    return f"{table(heads, rows)}\n\n{verdict}\n\nPage: {page.relative_to(project.root)}"
