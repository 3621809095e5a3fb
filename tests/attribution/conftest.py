"""A small SISA model of digits, trained once for all tests of the room."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from forgetflow.attribution.attribute import attribute
from forgetflow.attribution.scores import Scores
from forgetflow.config.attribution import AttributionSettings
from forgetflow.config.model import ModelSettings
from forgetflow.config.partition import PartitionSettings
from forgetflow.config.settings import Settings
from forgetflow.config.train import TrainSettings
from forgetflow.partition.registry import place
from forgetflow.records.record_set import RecordSet
from forgetflow.records.sources.registry import import_records
from forgetflow.store.store import Store
from forgetflow.training.ensemble import Ensemble
from forgetflow.training.recipe import Recipe
from forgetflow.training.trainer import train_chain
from forgetflow.training.workspace import Mask, Workspace


@dataclass(frozen=True, eq=False)
class Trained:
    workspace: Workspace
    test: RecordSet
    ensemble: Ensemble

    @property
    def keep(self) -> Mask:
        return self.workspace.everything

    def build(self, keep: Mask) -> Ensemble:
        """Return the model of fewer records; unaffected constituents come from the store."""
        return build(self.workspace, keep)

    def attribute(self, ensemble: Ensemble | None = None, **settings: int) -> Scores:
        return attribute(
            self.workspace,
            ensemble or self.ensemble,
            self.keep,
            self.test,
            AttributionSettings(**{"queries": 60, **settings}),
        )


def build(workspace: Workspace, keep: Mask) -> Ensemble:
    constituents = []
    for shard in workspace.occupied(keep):
        receipt, _ = train_chain(workspace.store, workspace.chain(shard, keep), workspace.recipe)
        constituents.append(workspace.constituent(shard, receipt, keep))
    return Ensemble.from_store(workspace.card("original", constituents, keep), workspace.store)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    settings = Settings(
        partition=PartitionSettings(shards=3, slices=2),
        model=ModelSettings(hidden=(24,), normalize="standard"),
        train=TrainSettings(epochs=8),
    )
    digits = import_records(settings.data)
    root: Path = tmp_path_factory.mktemp("attribution")
    workspace = Workspace(
        settings,
        digits.train,
        place(digits.train, settings.partition, settings.run.seed),
        Recipe.from_settings(settings, digits.train.schema.input_shape, 10),
        Store(root / "store"),
    )
    return Trained(workspace, digits.test, build(workspace, workspace.everything))


@pytest.fixture(scope="session")
def scores(trained: Trained) -> Scores:
    return trained.attribute()
