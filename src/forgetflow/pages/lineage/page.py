"""The lineage page: one self-contained file that tells the history of a model.

No script, no font and no address outside the file, so it opens from a disk, in a mail or as an
MLflow artifact, and in ten years.
"""

from collections.abc import Mapping
from html import escape
from importlib.resources import files

from forgetflow.lineage.story import ALIASES, GUARANTEES, LIMIT
from forgetflow.lineage.tree import count, day
from forgetflow.lineage.version import LineageTree, Version
from forgetflow.pages.lineage.drawing import accuracy, aliases, badge, family, gate, state

COLUMNS = (
    "Version",
    "Generation",
    "Parent",
    "Requests",
    "Forgotten",
    "Left",
    "Sealed",
    "Due",
    "Method",
    "Guarantee",
    "Test accuracy",
    "Gate",
    "State",
    "Weights",
    "Manifest",
    "Certificate",
)


def as_html(tree: LineageTree) -> str:
    """Return the page: the drawn tree, a table of all versions, and how to read them."""
    name = escape(tree.model_name)
    style = files("forgetflow.pages.lineage").joinpath("page.css").read_text("utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Lineage of {name}</title><style>{style}</style></head><body><main>"
        f'<header class="top"><p class="kicker">Model lineage</p><h1>{name}</h1>'
        f"<p>{_summary(tree)}</p></header>{_figures(tree)}"
        f'<div class="split"><section><h2>Family tree</h2>{_families(tree)}</section>'
        f"<aside>{_guide()}</aside></div>"
        f"<section><h2>All versions</h2>{_table(tree)}</section>"
        "</main></body></html>\n"
    )


def _summary(tree: LineageTree) -> str:
    if not tree.versions:
        return "No version is registered yet."
    serving = tree.aliased("serving")
    if serving is None:
        return "No version is being served: none has passed the gate."
    return (
        f"Version {serving.number} (<b>{escape(serving.generation)}</b>) is being served: "
        f"{escape(serving.method)}, {escape(serving.guarantee)}. It learned from "
        f"{count(serving.records, 'record')}; {count(serving.forgotten, 'record')} "
        f"{'has' if serving.forgotten == 1 else 'have'} been forgotten since the original."
    )


def _figures(tree: LineageTree) -> str:
    if not tree.versions:
        return ""
    candidate = tree.aliased("candidate") or tree.versions[-1]
    batches = [v.deletion for v in tree.path(candidate) if v.deletion]
    serving = tree.aliased("serving")
    figures = {
        "Versions": f"{len(tree.versions)}",
        "Being served": f"v{serving.number}" if serving else "none",
        "Newest": f"v{candidate.number}",
        "Batches up to the newest": f"{len(batches)}",
        "Deletion requests": f"{sum(b.requests for b in batches):,}",
        "Records forgotten": f"{candidate.forgotten:,}",
    }
    cells = "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in figures.items())
    return f'<dl class="figures">{cells}</dl>'


def _families(tree: LineageTree) -> str:
    parts = []
    for top in tree.tops:
        heir = next((v for v in tree.versions if v.supersedes == top.number), None)
        if heir is not None:
            parts.append(f'<p class="note">Superseded by v{heir.number}, a rebuilt original.</p>')
        elif top.parent is not None:
            parts.append(f'<p class="note">v{top.parent} is no longer registered.</p>')
        parts.append(f'<div class="scroll">{family(tree, top)}</div>')
    return "".join(parts) or '<p class="note">Nothing to draw yet.</p>'


def _guide() -> str:
    return (
        "<h2>How to read it</h2>"
        "<p>Each card is one generation of the model. A line leads from the model it started "
        "from, and says which batch of deletion requests was forgotten on the way.</p>"
        f"<h3>Guarantees</h3>{_terms(GUARANTEES, badges=True)}"
        f"<h3>Known limit</h3><p>{escape(LIMIT)}</p>"
        f"<h3>Aliases</h3>{_terms(ALIASES)}"
        "<h3>Personal data</h3><p>This page holds counts and digests; no record or person can "
        "be read from it.</p>"
    )


def _terms(terms: Mapping[str, str], *, badges: bool = False) -> str:
    rows = (
        f"<dt>{badge(word) if badges else f'<b>{escape(word)}</b>'}</dt><dd>{escape(meaning)}</dd>"
        for word, meaning in terms.items()
    )
    return f'<dl class="terms">{"".join(rows)}</dl>'


def _table(tree: LineageTree) -> str:
    head = "".join(f"<th>{column}</th>" for column in COLUMNS)
    rows = "".join(_row(tree, version) for version in reversed(tree.versions))
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(tree: LineageTree, version: Version) -> str:
    deletion = version.deletion
    cells = (
        f'<a href="#v{version.number}">v{version.number}</a>',
        f'<span class="name">{escape(version.generation)}</span> {aliases(version)}',
        "" if version.parent is None else f"v{version.parent}",
        f"{deletion.requests:,}" if deletion else "",
        f"{deletion.records:,}" if deletion else "",
        f"{version.records:,}",
        escape(day(deletion.sealed_at)) if deletion else "",
        escape(day(deletion.due_at)) if deletion else "",
        escape(version.method),
        badge(version.guarantee),
        accuracy(tree, version),
        gate(version),
        state(version),
        _digest(version.weights),
        _digest(deletion.manifest if deletion else None),
        _digest(version.certificate),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _digest(digest: str | None) -> str:
    if not digest:
        return ""
    return f'<code title="{escape(digest)}">{escape(digest[:10])}</code>'
