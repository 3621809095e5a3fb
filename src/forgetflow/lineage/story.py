"""What MLflow's pages say in words: Markdown descriptions of versions, runs and the model.

A description is a pure function of the tree, so writing all of them again after every change
keeps links to children, aliases and states right without any bookkeeping.
"""

from forgetflow.lineage.facts import ACCURACY, COST
from forgetflow.lineage.tree import accuracy_text, count, day
from forgetflow.lineage.version import LineageTree, Version
from forgetflow.lineage.view import VERSION, artifact_link, experiment_link, model_link, run_link

GUARANTEES = {
    "exact": "the weights are byte for byte those of a model built without the forgotten records",
    "certified": (
        "the model is statistically close to one built without the forgotten records: an "
        "(ε, δ) bound holds, with a budget that is carried from batch to batch"
    ),
    "approximate": (
        "nothing is promised; measures against retrained models are the only evidence, and a "
        "failed gate keeps the model from being published"
    ),
}
"""Each guarantee in plain words."""

LIMIT = (
    "Shard-based exactness holds for requests that do not depend on the published models "
    "(non-adaptive requests), and byte equality within one numeric environment."
)
"""What even an exact guarantee does not cover."""

TAGS = (
    "`lineage.*`: where a version comes from, and how many records are left and forgotten",
    "`deletion.*`: its batch, with counts, dates and the digest of the sealed manifest",
    "`unlearn.*`: the method, and what it promises",
    "`gate`: whether the measures held the bounds of `params.yaml`",
    "`state`: how far the deletion has come",
    "`weights.digest`, `certificate.sha256`: digests to check files against",
)
"""What the tags of a version mean."""

ALIASES = {
    "original": "built from all records",
    "candidate": "newest generation",
    "serving": "newest generation whose gate passed; never moves back to a model that still "
    "knows records which the one being served has forgotten",
}
"""What every alias means."""

PAGE = "lineage.html"
"""File name of the drawn tree, in the project folder and among the artifacts of a run."""

_ROOM = 2400  # characters for the list of versions; a description may have 5,000 in all
_METRICS = 8
_JUDGES = ("unlearned", "oracle", "parent")
_NO_EVIDENCE = (COST, VERSION, "gate_passed", "points.", "records.")


def version_story(tree: LineageTree, version: Version, experiment_id: str) -> str:
    """Return the description of a version."""
    return "\n\n".join(
        part
        for part in (
            _paragraph(tree, version),
            _promise(version),
            _evidence(tree, version),
            _relatives(tree, version, experiment_id),
        )
        if part
    )


def run_story(tree: LineageTree, version: Version, experiment_id: str) -> str:
    """Return the description of the run that made a version."""
    where = model_link(tree.model_name, version.number)
    return (
        f"Made [{_code(tree.model_name)} version {version.number}]({where}).\n\n"
        + version_story(tree, version, experiment_id)
    )


def weights_story(tree: LineageTree, version: Version) -> str:
    """Return the description of the logged model that holds a version's weights."""
    return (
        f"Weights of {_code(tree.model_name)} {_version_link(tree, version.number)}: "
        f"{version.method}, {version.guarantee}. The version's page tells the story."
    )


def model_story(tree: LineageTree, experiment_id: str) -> str:
    """Return the description of the registered model."""
    serving = tree.aliased("serving")
    now = (
        f"Being served: {_version_link(tree, serving.number)}, with "
        f"{count(serving.forgotten, 'record')} forgotten since the original."
        if serving
        else "No version is being served yet: none has passed the gate."
    )
    terms = [f"- **{word}**: {meaning}" for word, meaning in GUARANTEES.items()]
    names = [f"- alias `{alias}`: {meaning}" for alias, meaning in ALIASES.items()]
    return "\n\n".join(
        [
            "Every version is one **generation** of the same model: the original learned from all "
            f"records, each later version has forgotten one more batch of deletion requests. {now}",
            _family(tree, experiment_id),
            "**Guarantees**, each towards a build without the forgotten records",
            "\n".join(terms),
            LIMIT,
            "**Tags and aliases** of a version",
            "\n".join([*(f"- {tag}" for tag in TAGS), *names]),
        ]
    )


def _family(tree: LineageTree, experiment_id: str) -> str:
    lines: list[str] = []
    room = _ROOM
    for version in reversed(tree.versions):
        line = _family_line(tree, version)
        room -= len(line) + 1
        if room < 0:
            break
        lines.insert(0, line)
    hidden = len(tree.versions) - len(lines)
    if hidden:
        lines.insert(0, f"- {count(hidden, 'earlier version')}")
    if not tree.versions:
        return ""
    drawn = artifact_link(experiment_id, tree.versions[-1].run_id, PAGE)
    lines.append(
        f"\n[Family tree, drawn]({drawn}) · [Runs side by side]({experiment_link(experiment_id)})"
    )
    return "\n".join(lines)


def _family_line(tree: LineageTree, version: Version) -> str:
    origin = "" if version.parent is None else f" from v{version.parent}"
    deletion = version.deletion
    lost = f"−{deletion.records:,} → " if deletion else ""  # noqa: RUF001  a minus sign
    facts = [
        f"{lost}{count(version.records, 'record')}",
        f"{version.method}, {version.guarantee}",
        accuracy_text(version),
        f"gate {version.gate}",
        *(f"**{alias}**" for alias in version.aliases),
    ]
    link = f"[v{version.number} {_code(version.generation)}]"
    link += f"({model_link(tree.model_name, version.number)})"
    return f"- {link}{origin}: {' · '.join(filter(None, facts))}"


def _paragraph(tree: LineageTree, version: Version) -> str:
    name, deletion = _code(tree.model_name), version.deletion
    if deletion is None:
        story = (
            f"**Generation {_code(version.generation)}** of {name}: built from "
            f"**{count(version.records, 'record')}**."
        )
        if version.supersedes is not None:
            old = _version_link(tree, version.supersedes)
            story += f" It supersedes {old}: data or settings of the build have changed."
        return story
    due = f", due {day(deletion.due_at)}" if deletion.due_at else ""
    story = (
        f"**Generation {_code(version.generation)}** of {name} forgets "
        f"**{count(deletion.records, 'record')}** asked for in "
        f"{count(deletion.requests, 'request')} (batch {_code(deletion.batch)}, sealed "
        f"{day(deletion.sealed_at)}{due}). {count(version.records, 'record')} are left"
    )
    if version.forgotten != deletion.records:
        return f"{story}; {count(version.forgotten, 'record')} were forgotten since the original."
    return f"{story}."


def _promise(version: Version) -> str:
    meaning = GUARANTEES.get(version.guarantee, "")
    gates = {
        "passed": "the measures hold every bound of `params.yaml`",
        "failed": "a measure breaks a bound of `params.yaml`, so this version is not served",
        "not checked": "no bound was compared with a measure",
    }
    if version.deletion is None:
        meaning = "a plain build, nothing was forgotten yet"
    lines = [
        f"- **Method** {_code(version.method)}",
        f"- **Guarantee** {version.guarantee}: {meaning}",
        f"- **Gate** {version.gate}: {gates.get(version.gate, '')}",
        f"- **State** {version.state}",
        f"- **Weights** `{version.weights[:16]}`",
    ]
    if version.deletion:
        lines.append(f"- **Manifest** `{version.deletion.manifest[:16]}`")
    if version.certificate:
        lines.append(f"- **Certificate** `{version.certificate[:16]}`")
    return "\n".join(lines)


def evidence(tree: LineageTree, version: Version) -> dict[str, dict[str, float]]:
    """Return the measures of a version beside those of the models it is judged against.

    A metric named `accuracy.oracle.test` is `accuracy.test` of the oracle. Metrics
    with short names come first: they sum up the ones below them.

    Returns:
        Metric -> model (`unlearned` or `original` first, then `oracle`, `parent`) -> value.
    """
    own = "unlearned" if version.deletion else "original"
    parent = tree.parent(version)
    found: dict[str, dict[str, float]] = {}
    for name, value in version.metrics.items():
        if name.startswith(_NO_EVIDENCE):
            continue
        parts = name.split(".")
        model = next((part for part in parts if part in ("original", *_JUDGES)), None)
        if model is not None:
            parts.remove(model)
            found.setdefault(".".join(parts), {})[model] = value
        else:
            found[name] = {own: value}
            if parent and name in parent.metrics:
                found[name]["parent"] = parent.metrics[name]
    if "accuracy.test" in found:
        found.pop(ACCURACY, None)
    own_first = (own, *(model for model in _JUDGES if model != own))
    return {
        metric: {model: values[model] for model in own_first if model in values}
        for metric, values in sorted(found.items(), key=lambda f: (f[0].count("."), f[0]))
        if own in values
    }


def _evidence(tree: LineageTree, version: Version) -> str:
    metrics = evidence(tree, version)
    if not metrics:
        return ""
    lines = []
    for name, values in list(metrics.items())[:_METRICS]:
        own, *others = [f"{value:.4g}" for value in values.values()]
        rest = [f"{model} {text}" for model, text in zip(list(values)[1:], others, strict=True)]
        lines.append(f"- {_code(name)} **{own}**{''.join(f' · {one}' for one in rest)}")
    more = len(metrics) - len(lines)
    if more:
        lines.append(f"- {more} more among the metrics of the run")
    against = " (oracle: retrained without the records)" if version.deletion else ""
    return f"**Evidence**{against}\n\n" + "\n".join(lines)


def _relatives(tree: LineageTree, version: Version, experiment_id: str) -> str:
    parts = []
    if version.parent is not None:
        parts.append(f"Parent: {_version_link(tree, version.parent)}")
    children = [_version_link(tree, child.number) for child in tree.children(version)]
    if children:
        parts.append(f"Children: {', '.join(children)}")
    heirs = [v for v in tree.versions if v.supersedes == version.number]
    if heirs:
        parts.append(f"Superseded by {_version_link(tree, heirs[-1].number)}")
    parts.append(f"Run: [{version.run_id[:8]}]({run_link(experiment_id, version.run_id)})")
    parts.append(f"[All versions]({model_link(tree.model_name)})")
    return " · ".join(parts)


def _version_link(tree: LineageTree, number: int) -> str:
    version = tree.by_number.get(number)
    if version is None:
        return f"version {number} (no longer registered)"
    return f"[version {number}, {_code(version.generation)}]({model_link(tree.model_name, number)})"


def _code(text: str) -> str:
    # Names of batches and models are the user's; in a code span Markdown leaves them alone.
    return f"`{' '.join(text.replace('`', chr(39)).replace('|', '/').split())}`"
