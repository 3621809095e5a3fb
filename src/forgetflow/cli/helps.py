"""What `--help` says besides the verbs themselves: their order, method names, exit codes."""

from pathlib import Path

import typer
from typer.core import TyperGroup

ORDER = (
    "data",
    "request",
    "plan",
    "seal",
    "forget",
    "verify",
    "evaluate",
    "lineage",
    "predict",
    "study",
    "extractor",
    "doctor",
)
"""The verbs in the order of work."""

EXIT_CODES = """\b
Exit codes:
  0  done, also when there was nothing to do
  1  something unexpected, e.g. a tool failed
  2  bad input: the message says what to change
  3  a verdict: gate failed, bytes differ, a file was altered, a problem found"""
"""What the exit codes mean, under the list of verbs; `\\b` keeps the lines as they are."""


class WorkOrder(TyperGroup):
    """Lists verbs in the order of work; Typer lists groups of verbs last."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the names of the verbs."""
        return sorted(super().list_commands(ctx), key=ORDER.index)


def method_names() -> str:
    """Return the names of the unlearning methods, for the help of options that take one.

    Read from the names of their files, because the registry imports torch.
    """
    folder = Path(__file__).parents[1] / "unlearning" / "methods"
    return ", ".join(sorted(one.stem for one in folder.glob("[!_]*.py")))
