"""The command line: every verb is a few lines over the rooms below.

Heavy libraries are imported inside the verbs, so `--help` answers at once. Exit codes: 0 done,
2 bad input, 3 a failed gate or verification, 1 anything unexpected.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from forgetflow.cli import texts
from forgetflow.cli.console import Json, emit, note, table
from forgetflow.cli.extractor import extractor as extractor_verb
from forgetflow.cli.requests import request
from forgetflow.cli.study import study
from forgetflow.config.project import Project
from forgetflow.errors import ForgetflowError, InputError, VerdictError
from forgetflow.files.jsonable import to_json
from forgetflow.process.garbage import collect_rarely

app = typer.Typer(
    name="forgetflow",
    help="Machine unlearning as a data pipeline: deletion requests in, retrained models out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data = typer.Typer(help="Bring records into the project.", no_args_is_help=True)
lineage = typer.Typer(help="Show who came from whom.", no_args_is_help=True)
app.add_typer(data, name="data")
app.add_typer(request, name="request")
app.add_typer(lineage, name="lineage")
app.add_typer(study, name="study")
app.command("extractor")(extractor_verb)

Batch = Annotated[str | None, typer.Argument(help="Batch id such as b1.")]
Layout = Annotated[
    bool, typer.Option("--layout", help="Recommend bands of shards from deletion priors.")
]
Method = Annotated[str | None, typer.Option(help="Unlearning method; default: the batch's own.")]


def main() -> None:
    """Run the command line; errors raised on purpose become one sentence and an exit code."""
    collect_rarely()
    try:
        app()
    except ForgetflowError as error:
        note(f"error: {error}")
        sys.exit(error.exit_code)


@data.command("import")
def import_data(
    source: Annotated[str, typer.Argument(help="digits, idx, cifar10, npz, parquet, csv, images")],
    path: Annotated[str | None, typer.Option(help="Folder or file of the source.")] = None,
    extractor: Annotated[
        str | None,
        typer.Option(help="Folder of a frozen extractor; default: the one in params.yaml."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring a data set into data/train and data/test and remember its source in params.yaml.

    With --extractor, the features that a frozen network makes of each input become the inputs.

    Example: forgetflow data import idx --path ~/mnist
    """
    from forgetflow.config.edit import changed_params, portable, write_params
    from forgetflow.records.ingest import ingest
    from forgetflow.versioning.dvc import commit_stages, has_dvc

    project = Project.find()
    changes = {"data.source": source, "data.path": portable(project, path)}
    if extractor:
        from forgetflow.records.extractor import Extractor

        changes["data.extractor"] = portable(project, extractor)
        changes["data.extractor_digest"] = Extractor.load(Path(extractor).expanduser()).card.digest
    settings, text = changed_params(project, changes)
    counts = ingest(project, settings.data)
    write_params(project, text)
    if has_dvc(project):
        commit_stages(project, "ingest")
    emit(
        counts,
        as_json,
        lambda: (
            table(
                ["set", "records", "subjects", "classes", "input"],
                [
                    [
                        name,
                        c["records"],
                        c["subjects"],
                        c["classes"],
                        "x".join(map(str, c["input_shape"])),
                    ]
                    for name, c in counts.items()
                ],
            )
            + "\nNext: dvc repro"
        ),
    )


@app.command()
def seal(method: Method = None, as_json: Json = False) -> None:
    """Freeze all open requests into the next batch.

    Example: forgetflow seal
    """
    from flows.events import announce
    from flows.runtime import answering_server
    from forgetflow.unlearning.refusal import check_method
    from forgetflow.versioning.dvc import seal_and_track

    project = Project.find()
    check_method(project, method or project.settings.unlearn.method)
    result = seal_and_track(project, method)
    server = answering_server(project)
    if (
        result.manifest
        and server
        and not announce(server, result.manifest.batch, result.manifest.digest)
    ):
        note("the Prefect server did not take the event: start the flow with `forgetflow forget`")
    emit(result.details(), as_json, lambda: texts.sealed(result))


@app.command()
def plan(
    batch: Batch = None, method: Method = None, layout: Layout = False, as_json: Json = False
) -> None:
    """Say what a deletion will cost before anything is written.

    Without a batch: what sealing now would freeze, or else the newest sealed batch.
    With --layout: what layouts of shards cost, to choose one before training.

    Example: forgetflow plan b1 --method retrain
    """
    from forgetflow.requests.batches import read_batches
    from forgetflow.requests.overview import pending_manifest
    from forgetflow.unlearning.plan import plan_deletion

    project = Project.find()
    if layout:
        from forgetflow.partition.recommendation import recommend
        from forgetflow.records.record_set import read_record_set

        advice = recommend(read_record_set(project.train), project.settings)
        emit(to_json(advice), as_json, lambda: texts.layouts(advice))
        return
    if batch is None and pending_manifest(project) is None:
        batch = next(reversed(read_batches(project)), None)
    found = plan_deletion(project, batch, method)
    emit(to_json(found), as_json, lambda: texts.plan(found))


@app.command()
def forget(batch: Batch = None, method: Method = None, as_json: Json = False) -> None:
    """Run the deletion flow: unlearn, evaluate, gate, register.

    Without a batch: take in the inbox, seal open requests, process every batch that waits.

    Example: forgetflow forget b1 --method sisa
    """
    from flows.runtime import ensure_server, without_heartbeats
    from forgetflow.requests.batches import batch_manifest
    from forgetflow.training.card import read_card
    from forgetflow.unlearning.registry import method_named
    from forgetflow.versioning.dvc import seal_and_track

    project = Project.find()
    if method or batch is None:
        method_named(method or project.settings.unlearn.method, project.settings)
    if batch:
        batch_manifest(project, batch)
    read_card(project.model("original"))
    if batch is None:
        note(texts.outcomes(seal_and_track(project, method)))
    ensure_server(project)
    from flows.forget import deletion, waiting

    if batch is None and not waiting(project):
        emit({}, as_json, lambda: "nothing to forget: every batch is published")
        return
    with without_heartbeats():
        verdicts = deletion(batch=batch, method=method)
    results = {name: _generation(project, name) for name in verdicts}
    emit(results, as_json, lambda: "\n\n".join(map(texts.generation, results.values())))
    failed = [name for name, verdict in verdicts.items() if not verdict["passed"]]
    if failed:
        raise VerdictError(
            f"gate failed for {', '.join(failed)}: the model is registered but not published; "
            "see report/report.html"
        )


@app.command()
def evaluate(
    model: Annotated[str | None, typer.Argument(help="original or a batch id.")] = None,
    against: Annotated[
        str, typer.Option(help="Model to show beside it: oracle, parent, original.")
    ] = "oracle",
    as_json: Json = False,
) -> None:
    """Measure one model and show it beside another; default: the newest model.

    Example: forgetflow evaluate b1 --against parent
    """
    from flows.runtime import ensure_server, without_heartbeats
    from forgetflow.requests.batches import last_generation, read_batches
    from forgetflow.training.card import read_card

    if against not in ("oracle", "parent", "original"):
        raise InputError(f"--against {against}: choose oracle, parent or original")
    project = Project.find()
    generation = model or last_generation(read_batches(project))
    read_card(project.model(generation))
    ensure_server(project)
    from flows.evaluate import evaluate as evaluate_flow
    from forgetflow.evaluation.evaluate import read_evaluation

    with without_heartbeats():
        verdict = evaluate_flow(generation)
    found = read_evaluation(project.evaluation(generation))
    own = "original" if generation == "original" else "unlearned"
    paths = [f"accuracy.{{}}.{s}" for s in ("retain", "forget", "test")] + ["membership.{}.auc"]
    rows = [
        [path.format("*"), found.metric(path.format(own)), found.metric(path.format(against))]
        for path in paths
    ]
    emit(
        {
            "generation": generation,
            "metrics": found.metrics,
            "missing": found.reasons,
            "gate": verdict,
        },
        as_json,
        lambda: table(["measure", generation, against], rows),
    )


@app.command()
def verify(batch: Batch = None, as_json: Json = False) -> None:
    """Build an exact model again from what is left and compare bytes; check the ledger.

    The exit code is the verdict: 0 equal, 3 not.

    Example: forgetflow verify b1
    """
    from forgetflow.requests.batches import last_generation, read_batches
    from forgetflow.unlearning.verify import verify_generation

    project = Project.find()
    verdict = verify_generation(project, batch or last_generation(read_batches(project)))
    emit(to_json(verdict), as_json, lambda: texts.verdict(verdict))
    if not verdict.passed:
        raise VerdictError(
            f"{verdict.generation}: shards {list(verdict.different)} differ from a build "
            "without the forgotten records"
        )


@app.command()
def predict(
    file: Annotated[Path, typer.Argument(help="Parquet, CSV, .npy or .npz of inputs.")],
    model: Annotated[str, typer.Option(help="Alias or generation.")] = "serving",
    as_json: Json = False,
) -> None:
    """Predict with the current model, or another alias or generation.

    Example: forgetflow predict --model original digits.npy
    """
    from forgetflow.serving.prediction import predict_file

    rows = predict_file(Project.find(), file, model)
    emit(
        rows,
        as_json,
        lambda: table(
            ["row", "label", "probability"],
            [[r["row"], r["label"], f"{r['probability']:.4f}"] for r in rows],
        ),
    )


@lineage.command("show")
def lineage_show(
    format: Annotated[  # noqa: A002
        Literal["tree", "mermaid", "json"], typer.Option(help="How to draw it.")
    ] = "tree",
) -> None:
    """Print the family tree of models.

    Example: forgetflow lineage show --format mermaid
    """
    from forgetflow.lineage import tree

    draw = {"tree": tree.as_text, "mermaid": tree.as_mermaid, "json": tree.as_json}[format]
    sys.stdout.write(draw(tree.read_tree(Project.find())).rstrip() + "\n")


@lineage.command("html")
def lineage_html(as_json: Json = False) -> None:
    """Write the family tree as a page, lineage.html.

    Example: forgetflow lineage html
    """
    from forgetflow.files.atomic import write_atomically
    from forgetflow.lineage.story import PAGE
    from forgetflow.lineage.tree import read_tree
    from forgetflow.pages.lineage import lineage_page

    project = Project.find()
    path = project.root / PAGE
    write_atomically(path, lineage_page(read_tree(project)).encode())
    emit({"path": str(path)}, as_json, lambda: str(path))


@lineage.command("sync")
def lineage_sync(as_json: Json = False) -> None:
    """Register every built generation that MLflow does not know, e.g. after its database was lost.

    Example: forgetflow lineage sync
    """
    from flows.publish import register
    from forgetflow.evaluation.report import read_entries

    project = Project.find()
    versions = {
        e.card.generation: register(project, e.card.generation) for e in read_entries(project)
    }
    emit(versions, as_json, lambda: table(["generation", "version"], list(versions.items())))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check tools, versions, stores, determinism and GPU; say what to do.

    Example: forgetflow doctor
    """
    from forgetflow.cli.doctor import examine

    findings = examine(Project.find())
    emit(
        [to_json(f) for f in findings],
        as_json,
        lambda: table(
            ["", "check", "found", "to do"],
            [[f.mark, f.check, f.found, f.advice] for f in findings],
        ),
    )
    bad = [f.check for f in findings if f.level == "error"]
    if bad:
        raise VerdictError(f"doctor found {len(bad)} problem(s): {', '.join(bad)}")


def _generation(project: Project, generation: str) -> dict[str, Any]:
    from forgetflow.evaluation.report import read_entries, summarise

    entry = next(e for e in read_entries(project) if e.card.generation == generation)
    return dict(summarise(entry).values)
