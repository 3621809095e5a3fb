"""`forgetflow study`: published comparisons, recomputed on the project's own data."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgetflow.cli import study_tables
from forgetflow.cli.console import Json, emit
from forgetflow.cli.helps import method_names
from forgetflow.config.project import Project
from forgetflow.errors import InputError, VerdictError
from forgetflow.files.jsonable import from_json, to_json

if TYPE_CHECKING:
    from forgetflow.studies.protocol import Grid

study = typer.Typer(help="Recompute published results on your data.", no_args_is_help=True)


@study.command()
def methods(
    batch: Annotated[str | None, typer.Option(help="Forget what this batch forgets.")] = None,
    label: Annotated[str | None, typer.Option(help="Forget records of this class.")] = None,
    records: Annotated[int | None, typer.Option(help="Forget that many of them, drawn.")] = None,
    compare: Annotated[
        str,
        typer.Option(
            help=f"Methods, separated by commas, of {method_names()}; controls always take part."
        ),
    ] = "sisa",
    members: Annotated[int, typer.Option(help="Models per contender.", min=2)] = 100,
    as_json: Json = False,
) -> None:
    """Judge methods by pools of models.

    Beside them are controls and two pools of oracles.

    Results: studies/methods/audit.html, audit.json, audit.csv and a run in MLflow.

    Example: forgetflow study methods --label 8 --records 40 --compare sisa,finetune
    """
    from flows.runtime import ensure_server
    from forgetflow.unlearning.registry import method_named

    compared = _words(compare)
    project = Project.find()
    for name in compared:
        method_named(name, project.settings)
    forget_set = _forget_set(project, batch, label, records)
    ensure_server(project)
    from flows.study import methods as flow
    from forgetflow.audit.audit import Audit

    found = from_json(Audit, flow(forget_set, compared, members))
    text = study_tables.methods
    emit(to_json(found), as_json, lambda: _with_page(text(found), project, "methods/audit"))
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
    """Count what sharding and slicing save (SISA).

    Accuracy and cost of deletions over shards, slices and requests.

    Results: studies/sharding/sharding.html, three CSV files, sharding.json and a run in MLflow.

    Example: forgetflow study sharding --shards 1,5,20 --slices 1,4 --requests 1,10
    """
    from forgetflow.studies.sharding_grid import ShardingGrid

    grid = ShardingGrid(
        _numbers("shards", shards),
        _numbers("slices", slices),
        _numbers("requests", requests),
        seeds,
        draws,
    )
    _run("sharding", grid, as_json)


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
    """Measure deletions from forests (DaRE).

    What deletions from a forest cost over random layers, and at their worst.

    The forest is the one of `model.forest` in params.yaml, whatever `model.architecture` says.

    Results: studies/forest/forest.html, two CSV files, forest.json and a run in MLflow.

    Example: forgetflow study forest --depths 0,2,4 --seeds 5 --candidates 1000
    """
    from forgetflow.studies.forest_grid import ForestGrid

    counts = (seeds, singles, rounds, candidates)
    grid = ForestGrid(_numbers("depths", depths), *counts, _numbers("batches", batches), subjects)
    _run("forest", grid, as_json)


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
    """Measure one model per class (ARCANE).

    Accuracy and deletions of one-class models per class, of SISA and of one model.

    Takes the project's records and its `train` settings, whatever `partition.method` says.

    Results: studies/arcane/arcane.html, three CSV files, arcane.json and a run in MLflow.

    Example: forgetflow study arcane --heads gaussian --shares 0.5 --requests 1,10
    """
    from forgetflow.studies.arcane_grid import ArcaneGrid

    named: Any = _words(heads)  # the grid refuses those it does not know
    grid = ArcaneGrid(
        named,
        _fractions("shares", shares),
        _numbers("blocks", blocks),
        _numbers("requests", requests),
        seeds,
        draws,
        _numbers("hidden", hidden),
        rate,
    )
    _run("arcane", grid, as_json)


def _run(name: str, grid: "Grid", as_json: bool) -> None:
    """Refuse what the project's records cannot fill, run the study and print it."""
    from flows import inputs
    from flows.runtime import ensure_server
    from forgetflow.files.jsonable import from_json, to_json
    from forgetflow.studies.registry import STUDIES

    project = Project.find()
    grid.check(inputs.study(project))
    ensure_server(project)
    from flows.study import study as flow

    results = flow.with_options(name=f"study {name}")(name, to_json(grid))
    found = from_json(STUDIES[name].results, results)
    text = study_tables.TEXTS[name]
    emit(results, as_json, lambda: _with_page(text(found), project, f"{name}/{name}"))


def _with_page(text: str, project: Project, page: str) -> str:
    path = project.study(f"{page}.html").relative_to(project.root)
    return f"{text}\n\nPage: {path}"


def _words(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


def _fractions(name: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(one) for one in _words(text))
    except ValueError:
        raise InputError(f"--{name} takes numbers by commas, not '{text}'") from None


def _numbers(name: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(one) for one in _words(text))
    except ValueError:
        raise InputError(f"--{name} takes whole numbers by commas, not '{text}'") from None


def _forget_set(
    project: Project, batch: str | None, label: str | None, records: int | None
) -> dict[str, Any]:
    """Return the name of a forget set; see `flows.members`."""
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
    name: dict[str, Any] = {"label": number, "records": records}
    comparison_named(project, name)
    return name
