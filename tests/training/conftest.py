"""Small record sets and workspaces, and the bytes that training leaves in a store."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from forgetflow.config import Settings
from forgetflow.partition import place
from forgetflow.partition.assignment import write_assignment
from forgetflow.project import Project
from forgetflow.records.record_set import RecordSet, build_record_set, write_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures
from forgetflow.store import Store
from forgetflow.training.chain import Chain, Recipe
from forgetflow.training.workspace import Workspace

BASE: dict[str, dict[str, Any]] = {
    "partition": {"shards": 2, "slices": 3},
    "model": {"hidden": [8]},
    "train": {"epochs": 3, "batch_size": 4, "learning_rate": 0.1},
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


@pytest.fixture(scope="session")
def state_bytes() -> Callable[[Store, Chain], list[bytes]]:
    """Return the stored bytes of every state of a chain: weights and optimizer."""

    def read(store: Store, chain: Chain) -> list[bytes]:
        folder = store.root / "objects"
        return [(folder / key[:2] / f"{key}.safetensors").read_bytes() for key in chain.keys]

    return read
