"""Small record sets and workspaces, and the bytes that training leaves in a store."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from torch import Tensor

from forgetflow.config.project import Project
from forgetflow.config.settings import Settings
from forgetflow.partition.assignment import write_assignment
from forgetflow.partition.registry import place
from forgetflow.records.record_set import RecordSet, build_record_set, write_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures
from forgetflow.store.store import Store
from forgetflow.training.chain import Chain, Samples
from forgetflow.training.learners import Resident
from forgetflow.training.lockstep import Segment, Track, longest_first, run
from forgetflow.training.objective import CrossEntropy
from forgetflow.training.recipe import Recipe
from forgetflow.training.registry import learners
from forgetflow.training.schedule import Batches
from forgetflow.training.workspace import Workspace

BASE: dict[str, dict[str, Any]] = {
    "partition": {"shards": 2, "slices": 3},
    "model": {"hidden": [8]},
    "train": {"epochs": 3, "batch_size": 4, "learning_rate": 0.1},
    "run": {"device": "cpu"},
}


@pytest.fixture(scope="session")
def make_settings() -> Callable[..., Settings]:
    """Return a maker of settings from blocks that differ from the small base."""

    def make(**blocks: dict[str, Any]) -> Settings:
        names = BASE | blocks
        return Settings.model_validate(
            {name: {**BASE.get(name, {}), **blocks.get(name, {})} for name in names}
        )

    return make


@pytest.fixture(scope="session")
def make_records() -> Callable[..., RecordSet]:
    """Return a maker of records: three blurred clusters, two records a subject."""

    def make(count: int = 40, shape: tuple[int, ...] = (6,), seed: int = 0) -> RecordSet:
        rng = np.random.default_rng(seed)
        labels = np.arange(count) % 3
        features = rng.normal(size=(count, *shape)) + labels.reshape(-1, *[1] * len(shape))
        return build_record_set(
            RecordSchema(("a", "b", "c"), TensorFeatures(shape, "float32")),
            record_ids=[f"r{i:04d}" for i in range(count)],
            subject_ids=[f"s{i // 2:04d}" for i in range(count)],
            labels=labels,
            features=features.astype(np.float32),
            where="test",
        )

    return make


@pytest.fixture(scope="session")
def records(make_records: Callable[..., RecordSet]) -> RecordSet:
    return make_records()


@pytest.fixture(scope="session")
def make_space(
    tmp_path_factory: pytest.TempPathFactory, make_settings: Callable[..., Settings]
) -> Callable[..., Workspace]:
    """Return a maker of workspaces, each with an empty store of its own."""

    def make(records: RecordSet, **blocks: dict[str, Any]) -> Workspace:
        settings = make_settings(**blocks)
        schema = records.schema
        return Workspace(
            settings,
            records,
            place(records, settings.partition, settings.run.seed),
            Recipe.from_settings(settings, schema.input_shape, len(schema.class_names)),
            Store(tmp_path_factory.mktemp("store")),
        )

    return make


@pytest.fixture(scope="session")
def make_recipe(make_settings: Callable[..., Settings]) -> Callable[..., Recipe]:
    """Return a maker of recipes from an input shape, a number of classes and blocks."""

    def make(shape: tuple[int, ...] = (6,), classes: int = 3, **blocks: dict[str, Any]) -> Recipe:
        return Recipe.from_settings(make_settings(**blocks), shape, classes)

    return make


@pytest.fixture(scope="session")
def make_samples() -> Callable[..., Samples]:
    """Return a maker of random samples."""

    def make(
        count: int = 23, shape: tuple[int, ...] = (6,), classes: int = 3, seed: int = 0
    ) -> Samples:
        rng = np.random.default_rng([seed, count])
        return Samples(
            rng.normal(size=(count, *shape)).astype(np.float32),
            rng.integers(classes, size=count),
            rng.integers(256, size=(count, 32), dtype=np.uint8),
        )

    return make


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[[Workspace], Project]:
    """Return a maker of a project folder with the records, placement and settings of a space."""

    def make(space: Workspace) -> Project:
        project = Project(tmp_path / "project")
        write_record_set(space.records, project.train, parts=2)
        write_assignment(space.records, space.assignment, project.partition / "assignment.parquet")
        params = yaml.safe_dump(space.settings.model_dump(mode="json"))
        (project.root / "params.yaml").write_text(params)
        return project

    return make


@dataclass(frozen=True)
class Member:
    """What one learner of a pool learns from, and for how long."""

    seed: int
    shard: int
    samples: Samples
    steps: int


@pytest.fixture(scope="session")
def make_member() -> type[Member]:
    return Member


@pytest.fixture(scope="session")
def train_pool() -> Callable[..., list[dict[str, Tensor]]]:
    """Return a function that trains members of one recipe together and returns their states."""

    def train(recipe: Recipe, members: Sequence[Member], sign: int = 1) -> list[dict[str, Tensor]]:
        data = Resident.of([member.samples for member in members], recipe)
        tracks = []
        for member in members:
            where = data.find(member.samples.digests)
            place = (member.shard, 0)
            batches = Batches(data.digests[where], recipe.train.batch_size, member.seed, place)
            tracks.append(Track([Segment(batches, where, 0, member.steps)]))
        order = longest_first(tracks)
        group = learners(
            recipe, [(members[i].seed, members[i].shard) for i in order], CrossEntropy(sign)
        )
        for number, i in enumerate(order):
            group.fit_normalisation(number, data.inputs[tracks[i].segment.where])
        run(group, data, [tracks[i] for i in order])
        return [group.state(order.index(i)) for i in range(len(members))]

    return train


@pytest.fixture(scope="session")
def state_bytes() -> Callable[[Store, Chain], list[bytes]]:
    """Return the stored bytes of every state of a chain: weights and optimizer."""

    def read(store: Store, chain: Chain) -> list[bytes]:
        folder = store.root / "objects"
        return [(folder / key[:2] / f"{key}.safetensors").read_bytes() for key in chain.keys]

    return read
