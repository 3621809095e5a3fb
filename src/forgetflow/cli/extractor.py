"""`forgetflow extractor`: a model of public records becomes the feature extractor of others."""

from pathlib import Path
from typing import Annotated

import typer

from forgetflow.cli.console import Json, emit, table
from forgetflow.config.project import Project


def extractor(
    model: Annotated[str, typer.Argument(help="Alias or generation of this project.")],
    output: Annotated[Path, typer.Option(help="New folder for the extractor.")],
    as_json: Json = False,
) -> None:
    """Freeze a model as a feature extractor for other projects.

    Only for models of public records: whoever is in an extractor can not be forgotten. The model
    must be one network (partition.method monolith) with a hidden layer.

    Example: forgetflow extractor original --output ../extractor
    """
    from forgetflow.records.extractor import Extractor
    from forgetflow.serving.extractor import export_extractor

    card = export_extractor(Project.find(), model, output)
    made = Extractor.load(output)
    facts = {
        "extractor": str(output),
        "digest": card.digest,
        "architecture": card.architecture["architecture"],
        "input_shape": list(card.input_shape),
        "features": made.width,
        "learned_from": len(made.members),
    }
    emit(
        facts,
        as_json,
        lambda: (
            table(
                ["extractor", "input", "features", "learned from"],
                [
                    [
                        facts["architecture"],
                        "x".join(map(str, card.input_shape)),
                        made.width,
                        f"{len(made.members):,} records",
                    ]
                ],
            )
            + f"\nNext, in another project: forgetflow data import SOURCE --extractor {output}"
        ),
    )
