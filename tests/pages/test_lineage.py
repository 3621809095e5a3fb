"""The lineage page: every version is drawn and listed, and no two cards lie on each other."""

from typing import Any

import pytest

from forgetflow.lineage.facts import DeletionFacts
from forgetflow.lineage.version import LineageTree, Version
from forgetflow.pages.lineage import GAP_X, GAP_Y, HEIGHT, WIDTH, lineage_page, places


def version(number: int, generation: str, parent: int | None, **changes: Any) -> Version:
    dates = f"2026-03-{number:02d}T09:00:00Z", f"2026-04-{number:02d}T09:00:00Z"
    digest = f"{number % 10}a" * 32
    facts: dict[str, Any] = {
        "number": number,
        "generation": generation,
        "parent": parent,
        "root": 1,
        "supersedes": None,
        "method": "build" if parent is None else "sisa",
        "guarantee": "exact",
        "gate": "passed",
        "state": "failed_before_publish",
        "records": 2000 - 10 * number,
        "forgotten": 0 if parent is None else 10 * number,
        "card": f"c{number}" * 32,
        "weights": f"d{number}" * 32,
        "registered_at": dates[0],
        "deletion": None
        if parent is None
        else DeletionFacts(generation, 10 * number, number, digest, *dates),
        "certificate": None,
        "run_id": f"{number:032d}",
        "metrics": {"test_accuracy": 0.95 - number / 1000},
        "aliases": (),
    }
    return Version(**(facts | changes))


@pytest.fixture
def tree() -> LineageTree:
    """original -> b1 -> {b2-finetune, b2}, and a rebuilt original without children."""
    approximate = {"method": "finetune", "guarantee": "approximate", "gate": "failed"}
    return LineageTree(
        "digits",
        1,
        (
            version(1, "original", None, aliases=("original",)),
            version(2, "b1", 1),
            version(3, "b2-finetune", 2, **approximate),
            version(4, "b2", 2, aliases=("candidate", "serving"), certificate="e" * 64),
            version(5, "original", None, root=5, supersedes=1, metrics={}),
        ),
    )


def test_draws_and_lists_every_version(tree, read) -> None:
    page = read(lineage_page(tree))
    assert page.values("id", "article") == ["v1", "v2", "v4", "v3", "v5"]
    assert page.values("href", "a") == ["#v5", "#v4", "#v3", "#v2", "#v1"]
    assert len(page.values("d", "path")) == 3
    for one in tree.versions:
        assert one.weights[:10] in page.text
        assert f"{one.records:,}" in page.text
    assert "e" * 10 in page.text
    assert "94.6 % \N{MINUS SIGN}0.2 pp" in page.text
    assert "failed before publish" in page.text
    assert "Superseded by v5, a rebuilt original." in page.text


def test_tells_guarantees_and_their_limit(tree, read) -> None:
    page = read(lineage_page(tree))
    assert {f"badge {word}" for word in ("exact", "certified", "approximate")} <= set(
        page.values("class", "span")
    )
    assert "non-adaptive" in page.text


def test_labels_the_lines_with_the_batch(tree, read) -> None:
    text = read(lineage_page(tree)).text
    assert "batch b1 , sealed 2026-03-02 20 records in 2 requests" in text
    assert "2026-03-02 due 2026-04-02" in text


def test_names_cannot_break_the_page(nasty, read) -> None:
    marks = {"method": nasty, "state": nasty, "gate": nasty, "guarantee": nasty}
    one = version(1, nasty, None, aliases=(nasty,), **marks)
    page = read(lineage_page(LineageTree(nasty, 1, (one, version(2, nasty, 1)))))
    assert nasty in page.text
    assert page.values("onclick") == []


def test_an_empty_registry_has_a_page_too(read) -> None:
    page = read(lineage_page(LineageTree("digits", None, ())))
    assert "No version is registered yet." in page.text


def test_a_parent_that_is_gone_is_said(read) -> None:
    page = read(lineage_page(LineageTree("digits", 1, (version(7, "b7", 3),))))
    assert "v3 is no longer registered." in page.text


@pytest.mark.parametrize("aliases", [(), ("serving",)])
def test_says_what_is_served(aliases, read) -> None:
    tree = LineageTree("m", 1, (version(1, "original", None, aliases=aliases),))
    page = read(lineage_page(tree))
    assert ("Version 1" in page.text) == bool(aliases)
    assert ("none has passed the gate" in page.text) != bool(aliases)


def test_the_newest_child_stays_below_its_parent(tree) -> None:
    where = places(tree, tree.by_number[1])
    assert {n: (p.column, p.row) for n, p in where.items()} == {
        1: (0, 0),
        2: (0, 1),
        4: (0, 2),
        3: (1, 2),
    }
    assert where[3].x == WIDTH + GAP_X
    assert where[2].y == HEIGHT + GAP_Y


def test_no_two_versions_share_a_place() -> None:
    # every version but the leaves has three children
    versions = [version(1, "original", None)]
    versions += [version(n, f"b{n}", (n + 1) // 3) for n in range(2, 41)]
    where = places(LineageTree("m", 1, tuple(versions)), versions[0])
    assert len(where) == len(set(where.values())) == 40
