"""Small workspaces and projects to forget in, and the bytes that a build leaves."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from torch import Tensor

from forgetflow.config.data import DataSettings
from forgetflow.config.project import Project
from forgetflow.config.settings import Settings
from forgetflow.partition.assignment import write_assignment
from forgetflow.partition.registry import place
from forgetflow.records.record_set import RecordSet, build_record_set, write_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures
from forgetflow.records.sources.registry import import_records
from forgetflow.requests.intake import add_request
from forgetflow.requests.seal import seal
from forgetflow.store.store import Store
from forgetflow.training.card import ModelCard
from forgetflow.training.learners import Resident
from forgetflow.training.recipe import Recipe
from forgetflow.training.sequential import SequentialLearners
from forgetflow.training.stacked import StackedLearners
from forgetflow.training.trainer import train_chain
from forgetflow.training.work import OnStep
from forgetflow.training.workspace import Mask, Workspace
from forgetflow.unlearning.protocol import UnlearningMethod, jobs_of
from forgetflow.unlearning.registry import method_named
from forgetflow.unlearning.runner import Deletion, build_original, unlearn
from forgetflow.unlearning.view import View

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
BASE: dict[str, dict[str, Any]] = {
    "partition": {"shards": 3, "slices": 3},
    "model": {"hidden": [8]},
    "train": {"epochs": 3, "batch_size": 4, "learning_rate": 0.1},
    "unlearn": {"finetune": {"epochs": 2}},
    "run": {"device": "cpu"},
}


@pytest.fixture(scope="session")
def make_settings() -> Callable[..., Settings]:
    """Return a maker of settings from blocks that differ from the small base."""

    def make(**blocks: Mapping[str, Any]) -> Settings:
        names = BASE | blocks
        return Settings.model_validate(
            {name: {**BASE.get(name, {}), **blocks.get(name, {})} for name in names}
        )

    return make


@pytest.fixture(scope="session")
def make_records() -> Callable[..., RecordSet]:
    """Return a maker of records: three blurred clusters, two records a subject."""

    def make(count: int = 60) -> RecordSet:
        rng = np.random.default_rng(count)
        labels = np.arange(count) % 3
        return build_record_set(
            RecordSchema(("a", "b", "c"), TensorFeatures((6,), "float32")),
            record_ids=[f"r{i:04d}" for i in range(count)],
            subject_ids=[f"s{i // 2:04d}" for i in range(count)],
            labels=labels,
            features=(rng.normal(size=(count, 6)) + labels[:, None]).astype(np.float32),
            where="test",
        )

    return make


@pytest.fixture(scope="session")
def records(make_records: Callable[..., RecordSet]) -> RecordSet:
    return make_records()


@pytest.fixture(scope="session")
def pictures() -> RecordSet:
    """24 records of 8 x 8 pixels in three classes."""
    rng = np.random.default_rng(3)
    labels = np.arange(24) % 3
    centres = rng.normal(size=(3, 1, 8, 8))
    return build_record_set(
        RecordSchema(("a", "b", "c"), TensorFeatures((1, 8, 8), "float32")),
        record_ids=[f"r{i:03d}" for i in range(24)],
        subject_ids=[f"s{i:03d}" for i in range(24)],
        labels=labels,
        features=(centres[labels] + rng.normal(size=(24, 1, 8, 8))).astype(np.float32),
        where="test",
    )


@pytest.fixture(scope="session")
def digits() -> RecordSet:
    return import_records(DataSettings()).train


@dataclass(frozen=True)
class Lab:
    """Builds and deletions at hand, without a project folder."""

    new_folder: Callable[[], Path]
    make_settings: Callable[..., Settings]

    def space(self, records: RecordSet, **blocks: Mapping[str, Any]) -> Workspace:
        """Return a workspace with an empty store."""
        settings = self.make_settings(**blocks)
        schema = records.schema
        return Workspace(
            settings,
            records,
            place(records, settings.partition, settings.run.seed),
            Recipe.from_settings(settings, schema.input_shape, len(schema.class_names)),
            Store(self.new_folder()),
        )

    def without(self, space: Workspace, forget: Mask) -> Workspace:
        """Return a workspace that never had the records: nothing is shared with `space`."""
        blocks = {name: block.model_dump() for name, block in space.settings}
        return self.space(space.records.take(~forget), **blocks)

    def copy(self, space: Workspace) -> Workspace:
        """Return the same workspace with a copy of its store, file times included."""
        root = self.new_folder() / "store"
        shutil.copytree(space.store.root, root)
        return replace(space, store=Store(root))

    def build(self, space: Workspace, keep: Mask | None = None) -> ModelCard:
        """Build a model of the kept records."""
        keep = space.everything if keep is None else keep
        members = []
        for shard in space.occupied(keep):
            receipt, _ = train_chain(space.store, space.chain(shard, keep), space.recipe)
            members.append(space.constituent(shard, receipt, keep))
        return space.card("original", members, keep)

    def view(
        self,
        space: Workspace,
        parent: ModelCard,
        forget: Mask,
        method: str = "sisa",
        *,
        gone: Mask | None = None,
    ) -> View:
        """Return what a method sees when `forget` is deleted after `gone`."""
        before = np.zeros(len(forget), bool) if gone is None else gone
        needs = method_named(method).needs
        return View("b1", parent, needs, space, ~(forget | before), forget)

    def unlearn(self, view: View, method: str = "sisa", on_step: OnStep | None = None) -> ModelCard:
        """Run a method and describe the model it makes."""
        chosen: UnlearningMethod = method_named(method)
        space, keep = view._workspace, view._retain
        members = [
            space.constituent(job.shard, chosen.run(view, job, on_step), keep)
            for job in jobs_of(chosen, view)
        ]
        return space.card("b1", members, keep, parent=view.parent, method=method)

    def states(self, space: Workspace, keep: Mask | None = None) -> dict[tuple[int, int], bytes]:
        """Return (shard, slice) -> key and bytes of every state a build of `keep` has."""
        keep = space.everything if keep is None else keep
        return {
            (shard, number): key.encode() + self.path(space.store, key).read_bytes()
            for shard in space.occupied(keep)
            for number, key in enumerate(space.chain(shard, keep).keys)
        }

    def path(self, store: Store, key: str) -> Path:
        """Return the file of a state."""
        return store.root / "objects" / key[:2] / f"{key}.safetensors"


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, make_settings: Callable[..., Settings]) -> Lab:
    return Lab(partial(tmp_path_factory.mktemp, "lab"), make_settings)


def only(records: RecordSet, *positions: int) -> Mask:
    """Return the mask of the records at these positions."""
    mask = np.zeros(len(records), bool)
    mask[list(positions)] = True
    return mask


@pytest.fixture(scope="session")
def mask_of() -> Callable[..., Mask]:
    return only


@dataclass(frozen=True)
class Folder:
    """A project folder with records, partition and settings."""

    project: Project

    def request(self, **selector: str) -> str:
        """Ask for a deletion and return the request's id."""
        return add_request(self.project, selector, NOW)[0].request_id

    def seal(self, *selectors: Mapping[str, str], method: str = "sisa") -> str:
        """Ask for deletions, seal them, and return the batch."""
        for selector in selectors:
            self.request(**selector)
        batch = seal(self.project, NOW, method=method).batch
        assert batch is not None
        return batch

    def build(self) -> ModelCard:
        return build_original(self.project)

    def unlearn(self, batch: str, method: str = "sisa") -> ModelCard:
        return unlearn(self.project, Deletion.open(self.project, batch), method_named(method))

    def forget(self, *selectors: Mapping[str, str], method: str = "sisa") -> ModelCard:
        """Ask, seal and unlearn."""
        return self.unlearn(self.seal(*selectors, method=method), method)

    def weights(self, generation: str) -> dict[str, bytes]:
        """Return the weights files of a generation."""
        found = self.project.model(generation).glob("*.safetensors")
        return {path.name: path.read_bytes() for path in found}

    def tree(self) -> dict[str, tuple[int, bytes]]:
        """Return every file with its time of change and bytes, and every folder."""
        return {
            str(path.relative_to(self.project.root)): (
                path.stat().st_mtime_ns if path.is_file() else 0,
                path.read_bytes() if path.is_file() else b"",
            )
            for path in sorted(self.project.root.rglob("*"))
        }

    def replace_records(self, records: RecordSet) -> None:
        """Write other training records and their placement."""
        settings = self.project.settings
        write_record_set(records, self.project.train, parts=3)
        placed = place(records, settings.partition, settings.run.seed)
        write_assignment(records, placed, self.project.partition / "assignment.parquet")


@pytest.fixture(scope="session")
def make_folder(
    tmp_path_factory: pytest.TempPathFactory, make_settings: Callable[..., Settings]
) -> Callable[..., Folder]:
    """Return a maker of project folders of the given records."""

    def make(records: RecordSet, **blocks: Mapping[str, Any]) -> Folder:
        project = Project(tmp_path_factory.mktemp("project"))
        params = make_settings(**blocks).model_dump(mode="json")
        (project.root / "params.yaml").write_text(yaml.safe_dump(params))
        folder = Folder(project)
        folder.replace_records(records)
        return folder

    return make


@pytest.fixture(scope="session")
def copy_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Folder], Folder]:
    """Return a maker of copies of a project folder, file times included."""

    def copy(folder: Folder) -> Folder:
        root = tmp_path_factory.mktemp("copy") / "project"
        shutil.copytree(folder.project.root, root)
        return Folder(Project(root))

    return copy


@pytest.fixture(scope="session")
def built_folder(make_folder: Callable[..., Folder], records: RecordSet) -> Folder:
    """A project whose original model is built; to be copied, not changed."""
    folder = make_folder(records)
    folder.build()
    return folder


@pytest.fixture
def folder(copy_folder: Callable[[Folder], Folder], built_folder: Folder) -> Folder:
    """A project whose original model is built."""
    return copy_folder(built_folder)


@pytest.fixture
def count_samples(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the size of every mini-batch that is learned."""
    sizes: list[int] = []
    for engine in (SequentialLearners, StackedLearners):
        monkeypatch.setattr(engine, "steps", counting(engine.steps, sizes))
    return sizes


def counting(steps: Callable[..., None], sizes: list[int]) -> Callable[..., None]:
    """Return an engine's `steps` that also notes the size of every mini-batch."""

    def note(
        self: Any, data: Resident, rows: Tensor, counts: Tensor, own: Tensor | None = None
    ) -> None:
        sizes.extend(counts.flatten().tolist())
        steps(self, data, rows, counts, own)

    return note
