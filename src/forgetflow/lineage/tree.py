"""The family tree of model versions, read from MLflow's registry, and its plain renderings."""

import json
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from forgetflow.config.project import Project
from forgetflow.files.jsonable import to_json
from forgetflow.lineage.facts import DeletionFacts
from forgetflow.lineage.snapshot import read_snapshot, stamp, write_snapshot
from forgetflow.lineage.tracking import connect, database, experiment_of
from forgetflow.lineage.version import LineageTree, Version

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel


def read_tree(project: Project) -> LineageTree:
    """Read all versions of the project's registered model; empty when there is none yet.

    MLflow is asked only if its database has changed since the tree was last read.

    Raises:
        InputError: the tracking store cannot be used.
    """
    file = database(project)
    if file is not None and not file.is_file():
        return LineageTree(project.settings.lineage.model_name, None, ())
    known = read_snapshot(project)
    return known if known is not None else read_anew(connect(project), project)


def read_anew(client: "MlflowClient", project: Project) -> LineageTree:
    """Read the tree through an open client and keep it for the next reader."""
    before = stamp(project)
    tree = tree_from(client, project)
    write_snapshot(project, tree, before)
    return tree


def tree_from(client: "MlflowClient", project: Project) -> LineageTree:
    """Read the tree through an open client."""
    name = project.settings.lineage.model_name
    model = registered_model(client, name)
    if model is None:
        return LineageTree(name, None, ())
    quote = '"' if "'" in name else "'"
    found = _pages(client.search_model_versions, filter_string=f"name = {quote}{name}{quote}")
    experiment = experiment_of(client, project).experiment_id
    runs = _pages(client.search_runs, experiment_ids=[experiment])
    metrics = {run.info.run_id: dict(sorted(run.data.metrics.items())) for run in runs}
    aliases: dict[int, list[str]] = {}
    for alias, number in model.aliases.items():
        aliases.setdefault(int(number), []).append(alias)
    versions = [
        _version(one, metrics.get(one.run_id, {}), aliases.get(int(one.version), []))
        for one in found
        if "lineage.card" in one.tags  # a version registered by hand is no generation
    ]
    current = model.tags.get("lineage.root")
    return LineageTree(
        name, int(current) if current else None, tuple(sorted(versions, key=lambda v: v.number))
    )


def registered_model(client: "MlflowClient", name: str) -> "RegisteredModel | None":
    """Return the registered model, or None when nothing was registered under this name."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def as_json(tree: LineageTree) -> str:
    """Return the tree as JSON text; `from_json(LineageTree, json.loads(as_json(t))) == t`."""
    return json.dumps(to_json(tree), indent=2, ensure_ascii=False)


def as_text(tree: LineageTree) -> str:
    """Return the family tree as aligned text, one line a version.

    An only child continues its parent's column, so a long history stays readable.
    """
    if not tree.versions:
        return f"{tree.model_name}: no version is registered yet"
    rows = list(_rows(tree))
    widths = [max(_width(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def as_mermaid(tree: LineageTree) -> str:
    """Return the family tree as a Mermaid flowchart."""
    lines = ["flowchart TD"]
    for version in tree.versions:
        facts = [
            f"<b>v{version.number} {_entity(version.generation)}</b>",
            _entity(f"{version.method}, {version.guarantee}"),
            _entity(f"{version.records:,} records left, {version.forgotten:,} forgotten"),
            _entity(", ".join(filter(None, [accuracy_text(version), f"gate {version.gate}"]))),
            _entity(", ".join(f"@{alias}" for alias in version.aliases)),
        ]
        label = "<br/>".join(filter(None, facts))
        lines.append(f'  v{version.number}["{label}"]:::{_word(version.guarantee)}')
    for version in tree.versions:
        if version.parent in tree.by_number:
            label = _entity(batch_text(version))
            lines.append(f'  v{version.parent} -->|"{label}"| v{version.number}')
        if version.supersedes in tree.by_number:
            lines.append(f'  v{version.supersedes} -. "superseded by" .-> v{version.number}')
    lines += [
        "  classDef exact stroke:#0f766e,stroke-width:2px",
        "  classDef certified stroke:#4338ca,stroke-width:2px",
        "  classDef approximate stroke:#b45309,stroke-width:2px,stroke-dasharray:4 3",
    ]
    return "\n".join(lines)


def count(number: int, noun: str) -> str:
    """Return `1 record`, `2 records`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def day(moment: str | None) -> str:
    """Return the date of an ISO 8601 moment."""
    return (moment or "")[:10]


def batch_text(version: Version) -> str:
    """Return what the batch of a version was, in a few words; empty for an original."""
    deletion = version.deletion
    if deletion is None:
        return ""
    return (
        f"batch {deletion.batch}: {count(deletion.records, 'record')}, "
        f"{count(deletion.requests, 'request')}, sealed {day(deletion.sealed_at)}"
    )


def accuracy_text(version: Version) -> str:
    """Return the test accuracy in words; empty if it was not measured."""
    return "" if version.accuracy is None else f"test accuracy {version.accuracy:.4f}"


def _rows(tree: LineageTree) -> Iterator[list[str]]:
    # A stack, because a history of a thousand batches is deeper than Python recurses.
    pending = [(top, "", "") for top in reversed(tree.tops)]
    while pending:
        version, first, rest = pending.pop()
        yield _row(tree, version, first)
        children = tree.children(version)
        pending += [(child, rest, rest) for child in children[-1:]]
        pending += [(child, f"{rest}├─", f"{rest}│ ") for child in reversed(children[:-1])]


def _row(tree: LineageTree, version: Version, indent: str) -> list[str]:
    deletion = version.deletion
    return [
        f"{indent}● v{version.number} {version.generation}",
        f"{version.method}, {version.guarantee}",
        f"−{deletion.records:,}" if deletion else "",  # noqa: RUF001  a minus sign
        f"{version.records:,} left" if deletion else count(version.records, "record"),
        count(deletion.requests, "request") if deletion else "",
        day(deletion.sealed_at) if deletion else "",
        accuracy_text(version),
        f"gate {version.gate}",
        version.state,
        _remark(tree, version),
    ]


def _remark(tree: LineageTree, version: Version) -> str:
    parts = [f"[{', '.join(version.aliases)}]"] if version.aliases else []
    if version.supersedes is not None:
        parts.append(f"supersedes v{version.supersedes}")
    if version.parent is not None and version.parent not in tree.by_number:
        parts.append(f"parent v{version.parent} is no longer registered")
    return ", ".join(parts)


def _version(found: "ModelVersion", metrics: Mapping[str, float], aliases: list[str]) -> Version:
    tags: dict[str, str] = found.tags
    deletion = None
    if "deletion.batch" in tags:
        deletion = DeletionFacts(
            batch=tags["deletion.batch"],
            records=int(tags["deletion.records"]),
            requests=int(tags["deletion.requests"]),
            manifest=tags["deletion.manifest"],
            sealed_at=tags["deletion.sealed_at"],
            due_at=tags.get("deletion.due_at"),
        )
    moment = datetime.fromtimestamp(found.creation_timestamp // 1000, UTC)
    return Version(
        number=int(found.version),
        generation=tags["lineage.generation"],
        parent=_number(tags.get("lineage.parent_version")),
        root=_number(tags.get("lineage.root")) or int(found.version),
        supersedes=_number(tags.get("lineage.supersedes")),
        method=tags["unlearn.method"],
        guarantee=tags["unlearn.guarantee"],
        gate=tags.get("gate", "not checked"),
        state=tags.get("state", "unknown"),
        records=int(tags["lineage.records"]),
        forgotten=int(tags["lineage.forgotten"]),
        card=tags["lineage.card"],
        weights=tags["weights.digest"],
        registered_at=moment.isoformat().replace("+00:00", "Z"),
        deletion=deletion,
        certificate=tags.get("certificate.sha256"),
        run_id=found.run_id or "",
        metrics=metrics,
        aliases=tuple(sorted(aliases)),
    )


def _pages(search: Any, **query: Any) -> list[Any]:
    page = search(**query)
    found = list(page)
    while page.token:
        page = search(**query, page_token=page.token)
        found += page
    return found


def _number(text: str | None) -> int | None:
    return int(text) if text else None


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _word(text: str) -> str:
    return "".join(c for c in text if c.isalnum()) or "other"


def _entity(text: str) -> str:
    """Escape for a quoted Mermaid label: its own `#name;` entities, no line breaks."""
    table = {"#": "#35;", "&": "#amp;", "<": "#lt;", ">": "#gt;", '"': "#quot;", "`": "#96;"}
    return "".join(table.get(c, c) for c in " ".join(text.split()))
