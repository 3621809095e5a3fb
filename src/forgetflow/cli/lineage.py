"""The verbs of `forgetflow lineage`: the family tree of models, printed, drawn, registered anew."""

import sys
from typing import Annotated, Literal

import typer

from forgetflow.cli.console import Json, emit, table
from forgetflow.config.project import Project

lineage = typer.Typer(help="Show who came from whom.", no_args_is_help=True)


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
    """Register every built generation that MLflow does not know.

    For a project whose MLflow database was lost.

    Example: forgetflow lineage sync
    """
    from flows.publish import register
    from forgetflow.evaluation.report import read_entries

    project = Project.find()
    versions = {
        e.card.generation: register(project, e.card.generation) for e in read_entries(project)
    }
    emit(
        versions,
        as_json,
        lambda: (
            table(["generation", "version"], list(versions.items()))
            if versions
            else "no model is built yet: dvc repro"
        ),
    )
