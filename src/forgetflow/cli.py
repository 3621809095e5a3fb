"""The command line: every verb is a few lines over the rooms below.

Heavy libraries are imported inside the verbs, so `--help` answers at once. Exit codes: 0 done,
2 bad input, 3 a failed gate or verification, 1 anything unexpected.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from forgetflow import texts
from forgetflow.console import emit, note, table
from forgetflow.errors import ForgetflowError, InputError, VerdictError
from forgetflow.project import Project

app = typer.Typer(
    name="forgetflow",
    help="Machine unlearning as a data pipeline: deletion requests in, retrained models out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data = typer.Typer(help="Bring records into the project.", no_args_is_help=True)
request = typer.Typer(help="Take in and show deletion requests.", no_args_is_help=True)
lineage = typer.Typer(help="Show who came from whom.", no_args_is_help=True)
app.add_typer(data, name="data")
app.add_typer(request, name="request")
app.add_typer(lineage, name="lineage")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Batch = Annotated[str | None, typer.Argument(help="Batch id such as b1.")]
Method = Annotated[str | None, typer.Option(help="Unlearning method; default: the batch's own.")]


def main() -> None:
    """Run the command line; errors raised on purpose become one sentence and an exit code."""
    try:
        app()
    except ForgetflowError as error:
        note(f"error: {error}")
        sys.exit(error.exit_code)


@data.command("import")
def import_data(
    source: Annotated[str, typer.Argument(help="digits, idx, cifar10, npz, parquet, csv, images")],
    path: Annotated[str | None, typer.Option(help="Folder or file of the source.")] = None,
    as_json: Json = False,
) -> None:
    """Bring a data set into data/train and data/test and remember its source in params.yaml.

    Example: forgetflow data import idx --path ~/mnist
    """
    from forgetflow.params import changed_params, portable, write_params
    from forgetflow.records.ingest import ingest
    from forgetflow.versioning import commit_stages, has_dvc

    project = Project.find()
    changes = {"data.source": source, "data.path": portable(project, path)}
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


@request.command("add")
def add_request(  # noqa: PLR0913, PLR0917
    record: Annotated[str | None, typer.Option(help="Record id.")] = None,
    subject: Annotated[
        str | None, typer.Option(help="Subject id: all records of a person.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Class name: all records of a class.")] = None,
    where: Annotated[str | None, typer.Option(help="Expression over columns.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the request book only.")] = None,
    requester: Annotated[str | None, typer.Option(help="Who asks; kept as a pseudonym.")] = None,
    received_at: Annotated[str | None, typer.Option(help="ISO time; default: now.")] = None,
    due_at: Annotated[str | None, typer.Option(help="ISO time; default: privacy.due_days.")] = None,
    request_id: Annotated[str | None, typer.Option("--id", help="Your own request id.")] = None,
    hold: Annotated[str | None, typer.Option(help="Keep it on hold, for this reason.")] = None,
    as_json: Json = False,
) -> None:
    """Take in one deletion request.

    Example: forgetflow request add --subject writer-007 --reason "GDPR Art. 17"
    """
    from forgetflow.requests.intake import add_request as take_in

    fields = {
        "record": record,
        "subject": subject,
        "label": label,
        "where": where,
        "reason": reason,
        "requester": requester,
        "received_at": received_at,
        "due_at": due_at,
        "request_id": request_id,
        "hold": hold,
    }
    taken, new = take_in(Project.find(), {n: v for n, v in fields.items() if v is not None})
    emit(
        taken.to_json() | {"new": new},
        as_json,
        lambda: (
            f"{taken.request_id}  {'taken in' if new else 'known already'}, "
            f"due {taken.due_at:%Y-%m-%d}"
        ),
    )


@request.command("import")
def import_requests(
    file: Annotated[
        Path, typer.Argument(help="JSON, JSONL, CSV or Parquet; OpenDSR is understood.")
    ],
    as_json: Json = False,
) -> None:
    """Take in a file of requests, all or nothing.

    Example: forgetflow request import requests.csv
    """
    from forgetflow.requests.intake import import_requests as take_in

    requests, new = take_in(Project.find(), file)
    emit(
        {"requests": len(requests), "new": new},
        as_json,
        lambda: f"{len(requests)} request(s) read, {new} new",
    )


@request.command("list")
def list_requests(as_json: Json = False) -> None:
    """Show every request: state, due date, days left; the most urgent first.

    Example: forgetflow request list --json
    """
    from forgetflow.requests.overview import request_list

    lines = [line.to_json() for line in request_list(Project.find())]
    columns = ["request_id", "state", "records", "batch", "due_at", "days_left", "note"]
    emit(
        lines,
        as_json,
        lambda: (
            table(columns, [[line.get(c) for c in columns] for line in lines])
            if lines
            else "no requests yet: forgetflow request add --help"
        ),
    )


@request.command("hold")
def hold_request(
    request_id: str,
    reason: Annotated[str, typer.Option(help="Why it must wait.")],
    as_json: Json = False,
) -> None:
    """Put an open request on hold.

    Example: forgetflow request hold req-1 --reason "legal hold 2026-11"
    """
    from forgetflow.requests.intake import hold_request as hold

    held = hold(Project.find(), request_id, reason)
    emit(held.to_json(), as_json, lambda: f"{request_id} is on hold")


@request.command("release")
def release_request(request_id: str, as_json: Json = False) -> None:
    """Lift a hold.

    Example: forgetflow request release req-1
    """
    from forgetflow.requests.intake import release_request as release

    released = release(Project.find(), request_id)
    emit(released.to_json(), as_json, lambda: f"{request_id} is no longer on hold")


@app.command()
def seal(method: Method = None, as_json: Json = False) -> None:
    """Freeze all open requests into the next batch.

    Example: forgetflow seal
    """
    from flows.events import announce
    from flows.runtime import answering_server
    from forgetflow.versioning import seal_and_track

    if method:
        from forgetflow.unlearning import method_named

        method_named(method)
    project = Project.find()
    result = seal_and_track(project, method)
    server = answering_server(project)
    if (
        result.manifest
        and server
        and not announce(server, result.manifest.batch, result.manifest.digest)
    ):
        note("the Prefect server did not take the event: start the flow with `forgetflow forget`")
    emit(result.to_json(), as_json, lambda: texts.sealed(result))


@app.command()
def plan(batch: Batch = None, method: Method = None, as_json: Json = False) -> None:
    """Say what a deletion will cost before anything is written.

    Without a batch: what sealing now would freeze, or else the newest sealed batch.

    Example: forgetflow plan b1 --method retrain
    """
    from forgetflow.requests.batches import read_batches
    from forgetflow.requests.overview import pending_manifest
    from forgetflow.unlearning.plan import plan_deletion

    project = Project.find()
    if batch is None and pending_manifest(project) is None:
        batch = next(reversed(read_batches(project)), None)
    found = plan_deletion(project, batch, method)
    emit(found.to_json(), as_json, lambda: texts.plan(found))


@app.command()
def forget(batch: Batch = None, method: Method = None, as_json: Json = False) -> None:
    """Run the deletion flow: unlearn, evaluate, gate, register.

    Without a batch: take in the inbox, seal open requests, process every batch that waits.

    Example: forgetflow forget b1 --method sisa
    """
    from flows.runtime import ensure_server
    from forgetflow.requests.batches import batch_manifest
    from forgetflow.training.ensemble import read_card
    from forgetflow.unlearning import method_named
    from forgetflow.versioning import seal_and_track

    project = Project.find()
    if method:
        method_named(method)
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
    from flows.runtime import ensure_server
    from forgetflow.requests.batches import last_generation, read_batches
    from forgetflow.training.ensemble import read_card

    if against not in ("oracle", "parent", "original"):
        raise InputError(f"--against {against}: choose oracle, parent or original")
    project = Project.find()
    generation = model or last_generation(read_batches(project))
    read_card(project.model(generation))
    ensure_server(project)
    from flows.evaluate import evaluate as evaluate_flow
    from forgetflow.evaluation.evaluate import read_evaluation

    verdict = evaluate_flow(generation)
    found = read_evaluation(project.evaluation(generation))
    own = "original" if generation == "original" else "unlearned"
    paths = [f"accuracy.{{}}.{s}" for s in ("retain", "forget", "test")] + ["membership.{}.auc"]
    rows = [
        [path.format("*"), found.figure(path.format(own)), found.figure(path.format(against))]
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
    emit(verdict.to_json(), as_json, lambda: texts.verdict(verdict))
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
    from forgetflow.prediction import predict_file

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
    from forgetflow.lineage.html import write_html

    path = write_html(Project.find())
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
    from forgetflow.doctor import examine

    findings = examine(Project.find())
    emit(
        [f.to_json() for f in findings],
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
