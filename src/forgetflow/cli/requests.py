"""The verbs of `forgetflow request`: take in, show, hold and release deletion requests."""

from pathlib import Path
from typing import Annotated

import typer

from forgetflow.cli import texts
from forgetflow.cli.console import Json, emit
from forgetflow.config.project import Project
from forgetflow.files.jsonable import to_json

request = typer.Typer(help="Take in and show deletion requests.", no_args_is_help=True)

WHERE = 'age < 21 and job == "driver"'
"""An example of a selector."""


@request.command("add")
def add_request(  # noqa: PLR0913, PLR0917
    record: Annotated[str | None, typer.Option(help="Record id.")] = None,
    subject: Annotated[
        str | None, typer.Option(help="Subject id: all records of a person.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Class name: all records of a class.")] = None,
    where: Annotated[
        str | None,
        typer.Option(help=f"Expression over columns, e.g. '{WHERE}'."),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the request book only.")] = None,
    requester: Annotated[str | None, typer.Option(help="Who asks; kept as a pseudonym.")] = None,
    received_at: Annotated[str | None, typer.Option(help="ISO time; default: now.")] = None,
    due_at: Annotated[str | None, typer.Option(help="ISO time; default: privacy.due_days.")] = None,
    request_id: Annotated[str | None, typer.Option("--id", help="Your own request id.")] = None,
    hold: Annotated[str | None, typer.Option(help="Keep it on hold, for this reason.")] = None,
    as_json: Json = False,
) -> None:
    """Take in one deletion request.

    It names its records by exactly one of --record, --subject, --label and --where. Columns of
    --where are record_id, subject_id, label, deletion_prior and those of a table.

    Example: forgetflow request add --subject writer-007 --reason "GDPR Art. 17"

    Example: forgetflow request add --where 'label == "yes" and age < 21'
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
        to_json(taken) | {"new": new},
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
    """Show every request, the most urgent first.

    Example: forgetflow request list --json
    """
    from forgetflow.requests.overview import request_list

    lines = request_list(Project.find())
    emit(
        [line.facts() for line in lines],
        as_json,
        lambda: (
            texts.request_lines(lines)
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
    emit(to_json(held), as_json, lambda: f"{request_id} is on hold")


@request.command("release")
def release_request(request_id: str, as_json: Json = False) -> None:
    """Lift a hold.

    Example: forgetflow request release req-1
    """
    from forgetflow.requests.intake import release_request as release

    released = release(Project.find(), request_id)
    emit(to_json(released), as_json, lambda: f"{request_id} is no longer on hold")
