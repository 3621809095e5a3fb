"""Register generations in MLflow: version n = generation n, one run per batch, typed edges.

    run (nested under the original's) ── input ──► parent's logged model
            │
            └── output ──► logged model ──► registered version ──► aliases, moved last

Every step looks first whether it is done. A run carries the digest of its card from the moment
it exists, so a call that was killed is completed by the next one; a version is created when all
it points at is there; descriptions and aliases are derived from the registry and rewritten.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from forgetflow.config.project import Project
from forgetflow.errors import InputError
from forgetflow.files.atomic import write_atomically
from forgetflow.files.locks import locked
from forgetflow.lineage import logged_model
from forgetflow.lineage.facts import GenerationFacts
from forgetflow.lineage.story import PAGE, model_story, run_story, version_story, weights_story
from forgetflow.lineage.tracking import NOTE, connect, experiment_of, refusals_told
from forgetflow.lineage.tree import read_anew, registered_model, tree_from
from forgetflow.lineage.version import LineageTree, Version
from forgetflow.lineage.view import VERSION
from forgetflow.training.card import ModelCard, card_digest, read_card

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

Page = Callable[[LineageTree], str]
"""Draws a tree as an HTML document."""

SHOWABLE = frozenset({".csv", ".html", ".json", ".md", ".png", ".svg"})
"""Kinds of evaluation files that are logged: summaries and metrics, never per-record arrays."""


def register(project: Project, facts: GenerationFacts, page: Page) -> int:
    """Register a generation, or complete or refresh its registration; return its version.

    The same card again creates nothing; gate, state, certificate and measures are brought up to
    date. An original made of other bytes becomes a new version that supersedes the one before.

    Args:
        project: the project.
        facts: what is known of the generation.
        page: draws the tree as it is afterwards, for the project folder and the run.

    Raises:
        InputError: there is no model in the folder, or its parent was never registered.
        VerdictError: the folder does not hold what the card says.
    """
    with locked(project.locks, "lineage"), refusals_told():
        client = connect(project)
        tree = tree_from(client, project)
        known = next((v for v in tree.versions if v.card == facts.digest), None)
        number = known.number if known else _create(client, project, tree, facts)
        _refresh(client, project, number, facts, page)
        read_anew(client, project)
        return number


def set_state(
    project: Project,
    generation: str,
    state: str,
    page: Page,
    *,
    certificate_sha256: str | None = None,
) -> int:
    """Set how far the deletion behind a generation has come; return its version.

    Args:
        project: the project.
        generation: `original` or a batch id; its newest version in the current line is meant.
        state: new value of the `state` tag.
        page: draws the tree as it is afterwards, for the project folder.
        certificate_sha256: digest of the certificate, when this state came with one.

    Raises:
        InputError: the generation is not registered.
    """
    with locked(project.locks, "lineage"), refusals_told():
        client = connect(project)
        tree = tree_from(client, project)
        version = newest(tree, generation)
        if version is None:
            raise InputError(f"generation '{generation}' is not registered: register it first")
        tags = {"state": state}
        if certificate_sha256 is not None:
            tags["certificate.sha256"] = certificate_sha256
        _set_tags(client, tree.model_name, version, tags)
        tree = tree_from(client, project)
        _describe(client, project, tree, tree.by_number[version.number])
        _write(project, page(tree))
        return version.number


def newest(tree: LineageTree, generation: str) -> Version | None:
    """Return the newest version of a generation, of the current original's line if possible."""
    named = [v for v in tree.versions if v.generation == generation]
    return max(named, key=lambda v: (v.root == tree.current_root, v.number), default=None)


def target_aliases(tree: LineageTree) -> dict[str, int]:
    """Return where the aliases belong, in the order in which they are to be moved.

    `serving` goes to the newest version whose gate passed, unless that version still knows
    records which the one being served has forgotten: a rebuilt original waits for its deletions.
    """
    line = [v for v in tree.versions if v.root == tree.current_root]
    if not line:
        return {}
    aliases = {"original": line[0].root, "candidate": line[-1].number}
    passed = [v for v in line if v.gate == "passed"]
    served = tree.aliased("serving")
    if passed and (served is None or tree.manifests(passed[-1]) >= tree.manifests(served)):
        aliases["serving"] = passed[-1].number
    return aliases


def _create(
    client: "MlflowClient", project: Project, tree: LineageTree, facts: GenerationFacts
) -> int:
    logged_model.check_folder(facts)
    experiment = experiment_of(client, project).experiment_id
    parent = _parent(project, tree, facts.card)
    tags = facts.fixed_tags() | facts.mutable_tags()
    if parent is not None:
        tags |= {"lineage.parent_version": str(parent.number), "lineage.root": str(parent.root)}
    elif older := [v for v in tree.versions if v.number == v.root]:
        tags["lineage.supersedes"] = str(older[-1].number)

    root_run = tree.by_number[parent.root].run_id if parent else None
    run = _open_run(client, experiment, facts, tags, root_run)
    model_id = logged_model.ensure_logged_model(client, run, facts)
    _log_edges(client, run, model_id, facts, _model_of(client, parent))
    _log_files(client, run, facts)
    if run.info.status != "FINISHED":
        client.set_terminated(run.info.run_id)

    if registered_model(client, tree.model_name) is None:
        client.create_registered_model(tree.model_name)
    version = client.create_model_version(
        tree.model_name, f"models:/{model_id}", run.info.run_id, tags=tags, model_id=model_id
    )
    return int(version.version)


def _parent(project: Project, tree: LineageTree, card: ModelCard) -> Version | None:
    """Return the version of the parent; its folder says which of several of that name it is."""
    if card.parent is None:
        return None
    folder = project.model(card.parent)
    if (folder / "model.json").is_file():
        digest = card_digest(read_card(folder))
        parent = next((v for v in tree.versions if v.card == digest), None)
    else:
        parent = newest(tree, card.parent)
    if parent is None:
        raise InputError(
            f"generation '{card.generation}' comes from '{card.parent}', which is not "
            f"registered: run `dvc repro`, which registers it"
        )
    return parent


def _open_run(
    client: "MlflowClient",
    experiment: str,
    facts: GenerationFacts,
    tags: dict[str, str],
    root_run: str | None,
) -> "Run":
    from mlflow.entities import Param

    half_made = client.search_runs([experiment], f"tags.`lineage.card` = '{facts.digest}'")
    if half_made:
        run = half_made[0]
    else:
        plumbing = {
            "mlflow.user": "forgetflow",
            "mlflow.source.name": "forgetflow",
            "mlflow.source.type": "LOCAL",
        }
        if root_run is not None:
            plumbing["mlflow.parentRunId"] = root_run
        run = client.create_run(experiment, tags=tags | plumbing, run_name=facts.card.generation)
    client.log_batch(run.info.run_id, params=[Param(k, v) for k, v in facts.params().items()])
    return client.get_run(run.info.run_id)


def _model_of(client: "MlflowClient", version: Version | None) -> str | None:
    """Return the logged model behind a version: its run has exactly one output."""
    if version is None:
        return None
    outputs = client.get_run(version.run_id).outputs
    return outputs.model_outputs[0].model_id if outputs and outputs.model_outputs else None


def _log_edges(
    client: "MlflowClient",
    run: "Run",
    model_id: str,
    facts: GenerationFacts,
    parent_model: str | None,
) -> None:
    from mlflow.entities import LoggedModelInput, LoggedModelOutput

    sets = [_dataset("retain", facts.card.retain_digest, facts.card.records)]
    if facts.deletion is not None:
        sets.append(_dataset("forget", facts.deletion.manifest, facts.deletion.records))
    inputs = [] if parent_model is None else [LoggedModelInput(parent_model)]
    client.log_inputs(run.info.run_id, datasets=sets, models=inputs)
    # MLflow recognises inputs that it has, but refuses an output that it has.
    if not run.outputs or not run.outputs.model_outputs:
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model_id, step=0)])


def _dataset(name: str, digest: str, records: int) -> "DatasetInput":
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=f"{name} set",
        digest=digest[:32],  # MLflow keeps 36 characters
        source_type="forgetflow",
        source=json.dumps({"digest": digest, "records": records}),
        profile=json.dumps({"num_rows": records}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", name)])


def _log_files(client: "MlflowClient", run: "Run", facts: GenerationFacts) -> None:
    for name, folder in (("evaluation", facts.evaluation_folder), ("audit", facts.audit_folder)):
        if folder is None or not folder.is_dir():
            continue
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix in SHOWABLE:
                where = Path(name, path.relative_to(folder)).parent
                client.log_artifact(run.info.run_id, str(path), str(where))
    if facts.report is not None and facts.report.is_file():
        client.log_artifact(run.info.run_id, str(facts.report))


def _refresh(
    client: "MlflowClient", project: Project, number: int, facts: GenerationFacts, page: Page
) -> None:
    """Bring everything that may change up to date; the aliases come last."""
    tree = tree_from(client, project)
    version = tree.by_number[number]
    name = tree.model_name
    tags = facts.mutable_tags() | {"lineage.root": str(version.root)}
    _set_tags(client, name, version, tags)
    _log_measures(client, version, facts)
    client.set_tag(version.run_id, "lineage.version", str(number))
    model_id = _model_of(client, version)
    if model_id is not None:
        listed = json.dumps([{"name": name, "version": str(number)}])
        note = weights_story(tree, version)
        client.set_logged_model_tags(model_id, {"mlflow.modelVersions": listed, NOTE: note})
    client.set_registered_model_tag(name, "lineage.root", str(version.root))

    tree = tree_from(client, project)
    aliases = target_aliases(tree)
    tree_to_be = tree.with_aliases(aliases)
    _describe(client, project, tree_to_be, tree.by_number[number])
    client.log_artifact(version.run_id, str(_write(project, page(tree_to_be))))
    for alias, target in aliases.items():
        here = tree.aliased(alias)
        if here is None or here.number != target:
            client.set_registered_model_alias(name, alias, str(target))


def _set_tags(client: "MlflowClient", name: str, version: Version, tags: dict[str, str]) -> None:
    for key, value in tags.items():
        client.set_model_version_tag(name, str(version.number), key, value)
        client.set_tag(version.run_id, key, value)


def _log_measures(client: "MlflowClient", version: Version, facts: GenerationFacts) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    model_id = _model_of(client, version)
    changed = [
        Metric(name, value, now, 0, model_id=model_id)
        for name, value in (facts.measures() | {VERSION: float(version.number)}).items()
        if version.metrics.get(name) != value
    ]
    if changed:
        client.log_batch(version.run_id, metrics=changed)


def _write(project: Project, html: str) -> Path:
    path = project.root / PAGE
    write_atomically(path, html.encode())
    return path


def _describe(
    client: "MlflowClient", project: Project, tree: LineageTree, version: Version
) -> None:
    """Write anew all descriptions that mention this version."""
    experiment = experiment_of(client, project).experiment_id
    family = [version.number, version.parent, version.supersedes]
    family += [child.number for child in tree.children(version)]
    for relative in (tree.by_number[n] for n in family if n in tree.by_number):
        story = version_story(tree, relative, experiment)
        client.update_model_version(tree.model_name, str(relative.number), story)
        client.set_tag(relative.run_id, NOTE, run_story(tree, relative, experiment))
    client.update_registered_model(tree.model_name, model_story(tree, experiment))
