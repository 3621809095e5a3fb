from collections.abc import Callable
from typing import Any

import pytest

from forgetflow.lineage.facts import DeletionFacts
from forgetflow.lineage.version import LineageTree, Version


def make_version(number: int, generation: str, parent: int | None, **changes: Any) -> Version:
    deletion = None
    if parent is not None:
        deletion = DeletionFacts(
            batch=generation,
            records=10 * number,
            requests=number,
            manifest=f"{number:x}" * 64,
            sealed_at=f"2026-03-{number:02d}T09:00:00Z",
            due_at=f"2026-04-{number:02d}T09:00:00Z",
        )
    facts: dict[str, Any] = {
        "number": number,
        "generation": generation,
        "parent": parent,
        "root": 1,
        "supersedes": None,
        "method": "sisa" if deletion else "build",
        "guarantee": "exact",
        "gate": "passed",
        "state": "published",
        "records": 1000 - 10 * number,
        "forgotten": 10 * number if deletion else 0,
        "card": f"c{number}" * 32,
        "weights": f"d{number}" * 32,
        "registered_at": "2026-03-01T09:00:00Z",
        "deletion": deletion,
        "certificate": None,
        "run_id": f"{number:032d}",
        "metrics": {"test_accuracy": 0.95 - number / 1000},
        "aliases": (),
    }
    return Version(**{**facts, **changes})


@pytest.fixture
def version() -> Callable[..., Version]:
    """Makes one version by hand."""
    return make_version


@pytest.fixture
def tree() -> LineageTree:
    """original -> b1 -> {b2-finetune, b2}, and a rebuilt original without children."""
    return LineageTree(
        "digits",
        1,
        (
            make_version(1, "original", None, aliases=("original",)),
            make_version(2, "b1", 1),
            make_version(
                3, "b2-finetune", 2, method="finetune", guarantee="approximate", gate="failed"
            ),
            make_version(4, "b2", 2, aliases=("candidate", "serving"), certificate="e" * 64),
            make_version(5, "original", None, root=5, supersedes=1, metrics={}),
        ),
    )
