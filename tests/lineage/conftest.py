"""Trees made by hand, and real generations with an MLflow database to register them in."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from forgetflow.config.data import DataSettings
from forgetflow.config.project import Project
from forgetflow.config.settings import Settings
from forgetflow.files.jsonable import to_json
from forgetflow.keys.digests import bytes_digest
from forgetflow.lineage.facts import DeletionFacts, GenerationFacts
from forgetflow.lineage.tracking import connect, tracking_uri
from forgetflow.lineage.version import LineageTree, Version
from forgetflow.partition.registry import place
from forgetflow.records.record_set import RecordSet
from forgetflow.records.sources.registry import import_records
from forgetflow.store.store import Store
from forgetflow.training.card import ModelCard, write_model
from forgetflow.training.promise import Approximate, Exact
from forgetflow.training.recipe import Recipe
from forgetflow.training.trainer import train_chain
from forgetflow.training.workspace import Workspace

SMALL = {
    "partition": {"shards": 2, "slices": 1},
    "model": {"hidden": [8]},
    "train": {"epochs": 1},
}
BATCHES = {"b1": 12, "b2": 5, "b3": 30}


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


@dataclass(frozen=True)
class Models:
    """Trained generations, ready to be registered anywhere."""

    folder: Path
    cards: dict[str, ModelCard]
    records: RecordSet
    test: RecordSet

    def facts(self, project: Project, generation: str, **changes: Any) -> GenerationFacts:
        """What to register about a generation; puts its files into the project."""
        card = self.cards[generation]
        folder = project.model(generation)
        if not folder.exists():
            shutil.copytree(self.folder / generation, folder)
        facts = GenerationFacts(
            card=card,
            model_folder=folder,
            metrics={"test_accuracy": 0.9 - card.forgotten / 1000},
            deletion=deletion_of(card),
            gate="failed" if generation == "b3" else "passed",
            state="published",
            cost={"seconds": 2.5},
        )
        return replace(facts, **changes)

    def renamed(self, project: Project, source: str, **changes: Any) -> ModelCard:
        """Write another generation with the weights of `source` into the project."""
        card = replace(self.cards[source], **changes)
        folder = project.model(card.generation)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder / source, folder)
        (folder / "model.json").write_text(json.dumps(to_json(card)))
        return card


def deletion_of(card: ModelCard) -> DeletionFacts | None:
    if card.parent is None:
        return None
    records = BATCHES.get(card.generation, 1)
    return DeletionFacts(
        card.generation, records, 2, card.manifests[-1], "2026-03-01T09:00:00Z", "2026-03-31"
    )


@pytest.fixture(scope="package")
def models(tmp_path_factory) -> Models:
    """original -> b1 -> b2 -> b3, weights included."""
    root = tmp_path_factory.mktemp("models")
    settings = Settings.model_validate(SMALL)
    data = import_records(DataSettings())
    schema = data.train.schema
    workspace = Workspace(
        settings,
        data.train,
        place(data.train, settings.partition, 0),
        Recipe.from_settings(settings, schema.input_shape, len(schema.class_names)),
        Store(root / "store"),
    )

    def build(generation, keep, **facts):
        members = []
        for shard in workspace.occupied(keep):
            receipt, _ = train_chain(
                workspace.store, workspace.chain(shard, keep), workspace.recipe
            )
            members.append(workspace.constituent(shard, receipt, keep))
        card = workspace.card(generation, members, keep, **facts)
        write_model(workspace.store, card, root / generation)
        return card

    keep = workspace.everything
    cards = {"original": build("original", keep)}
    parent = cards["original"]
    for batch, records in BATCHES.items():
        keep = keep.copy()
        keep[np.flatnonzero(keep)[:records]] = False
        exact = batch != "b3"
        parent = cards[batch] = build(
            batch,
            keep,
            parent=parent,
            method="sisa" if exact else "finetune",
            promise=Exact() if exact else Approximate(),
            manifest=bytes_digest(batch.encode()),
        )
    return Models(root, cards, data.train, data.test)


@pytest.fixture(scope="package")
def home(tmp_path_factory) -> Iterator[Project]:
    """A project with the database that all tests share."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    project = new_project(tmp_path_factory.mktemp("home"), "digits")
    connect(project)
    yield project
    if before is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = before


def new_project(root: Path, name: str, uri: str | None = None) -> Project:
    lineage = {"model_name": name, "experiment": name, "tracking_uri": uri}
    (root / "params.yaml").write_text(yaml.safe_dump({**SMALL, "lineage": lineage}))
    return Project(root)


@pytest.fixture
def make_project():
    """Write a small params.yaml: folder, name of model and experiment, address of MLflow."""
    return new_project


@pytest.fixture
def project(home, tmp_path, request) -> Project:
    """A project of its own in the shared database."""
    return new_project(tmp_path, f"model of {request.node.name}"[:80], tracking_uri(home))
