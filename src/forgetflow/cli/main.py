"""The command line: every verb is a few lines over the rooms below.

Heavy libraries are imported inside the verbs, so `--help` answers at once.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forgetflow import __version__
from forgetflow.cli import metrics, texts
from forgetflow.cli.console import Json, emit, note, table
from forgetflow.cli.data import data
from forgetflow.cli.extractor import extractor as extractor_verb
from forgetflow.cli.helps import EXIT_CODES, WorkOrder, method_names
from forgetflow.cli.lineage import lineage
from forgetflow.cli.requests import request
from forgetflow.cli.study import study
from forgetflow.config.project import Project
from forgetflow.errors import ForgetflowError, InputError, VerdictError
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.process.garbage import collect_rarely

if TYPE_CHECKING:
    from forgetflow.evaluation.report import Summary

app = typer.Typer(
    name="forgetflow",
    cls=WorkOrder,
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data, name="data")
app.add_typer(request, name="request")
app.add_typer(lineage, name="lineage")
app.add_typer(study, name="study")
app.command("extractor")(extractor_verb)

Batch = Annotated[str | None, typer.Argument(help="Batch id such as b1.")]
Layout = Annotated[
    bool, typer.Option("--layout", help="Recommend bands of shards from deletion priors.")
]
Method = Annotated[
    str | None,
    typer.Option(help=f"Unlearning method: {method_names()}. Default: the batch's own."),
]


def main() -> None:
    """Run the command line; errors raised on purpose become one sentence and an exit code."""
    collect_rarely()
    try:
        app()
    except ForgetflowError as error:
        note(f"error: {error}")
        sys.exit(error.exit_code)


def _print_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"forgetflow {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Machine unlearning as a data pipeline: deletion requests in, retrained models out.

    `dvc repro` builds the original model after `data import`. Every verb has --help with an
    example.
    """


@app.command()
def seal(method: Method = None, as_json: Json = False) -> None:
    """Freeze all open requests into the next batch.

    The method of the batch is --method, or else unlearn.method in params.yaml.

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
    rows = {name: _summary(project, name) for name in verdicts}
    emit(
        {name: {**row.values, "missing": row.missing} for name, row in rows.items()},
        as_json,
        lambda: "\n\n".join(map(metrics.generation, rows.values())),
    )
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
    """Measure a model, the newest by default, beside another.

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
    from forgetflow.evaluation.gate import GateVerdict
    from forgetflow.evaluation.report import Entry

    with without_heartbeats():
        verdict = evaluate_flow(generation)
    entry = Entry(
        read_card(project.model(generation)),
        read_evaluation(project.evaluation(generation)),
        from_json(GateVerdict, verdict),
    )
    emit(
        {
            "generation": generation,
            "metrics": entry.evaluation.metrics,
            "missing": entry.evaluation.reasons,
            "gate": verdict,
        },
        as_json,
        lambda: metrics.evaluation(entry, against),
    )


@app.command()
def verify(batch: Batch = None, as_json: Json = False) -> None:
    """Build an exact model again from what is left, compare bytes.

    Ledger, manifests and file digests are checked as well, also where a model promises nothing.
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
    """Predict with the current model, or with another.

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


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check tools, versions, stores and determinism; say what to do.

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


def _summary(project: Project, generation: str) -> "Summary":
    from forgetflow.evaluation.report import read_entries, summarise

    return summarise(next(e for e in read_entries(project) if e.card.generation == generation))
