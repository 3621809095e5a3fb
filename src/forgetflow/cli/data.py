"""The verb of `forgetflow data`: bring records into the project."""

from pathlib import Path
from typing import Annotated

import typer

from forgetflow.cli.console import Json, emit, table
from forgetflow.config.project import Project

data = typer.Typer(help="Bring records into the project.", no_args_is_help=True)


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
    """Bring a data set into data/train and data/test.

    Its source is remembered in params.yaml; `dvc repro` comes next. With --extractor, the
    features that a frozen network makes of each input become the inputs.

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
