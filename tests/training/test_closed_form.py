"""Constituents fitted without gradient steps, in chains like all others."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.covariance import shrunk_covariance

from forgetflow.config.model import ForestSettings, ModelSettings
from forgetflow.config.settings import Settings
from forgetflow.partition.registry import place
from forgetflow.records.record_set import build_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures
from forgetflow.store.memory import MemoryStore
from forgetflow.store.store import Store
from forgetflow.training.chain import Samples
from forgetflow.training.closed_form import extend, rows_of
from forgetflow.training.ensemble import Ensemble
from forgetflow.training.recipe import Recipe
from forgetflow.training.trainer import train_chain
from forgetflow.training.work import samples_of
from forgetflow.training.workspace import Workspace

SETTINGS = Settings.model_validate(
    {
        "partition": {"method": "arcane", "slices": 3},
        "model": {"architecture": "gaussian"},
        "run": {"device": "cpu"},
    }
)


@pytest.fixture(scope="module")
def records():
    rng = np.random.default_rng(1)
    labels = np.arange(90) % 3
    return build_record_set(
        RecordSchema(("a", "b", "c"), TensorFeatures((4,), "float32")),
        record_ids=[f"r{i:04d}" for i in range(90)],
        subject_ids=[f"s{i:04d}" for i in range(90)],
        labels=labels,
        features=(rng.normal(size=(90, 4)) + labels[:, None]).astype(np.float32),
        where="test",
    )


def space_of(records, store, settings=SETTINGS):
    return Workspace(
        settings,
        records,
        place(records, settings.partition, 0),
        Recipe.from_settings(settings, (4,), 3),
        store,
    )


def some(records, where):
    where = np.asarray(where, np.intp)
    return Samples(records.inputs[where], records.labels[where], records.digests[where])


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_a_slice_is_a_set_its_order_does_not_reach_the_bytes(records):
    recipe = space_of(records, MemoryStore()).recipe
    one, other = (
        extend(recipe, 0, None, [some(records, w)]) for w in (range(30), range(29, -1, -1))
    )
    assert same(one, other)


def test_a_state_is_the_one_before_and_the_last_slice(records):
    """Nothing of earlier slices is looked at again: they may even be other records."""
    recipe = space_of(records, MemoryStore()).recipe
    first, second = some(records, range(20)), some(records, range(20, 35))
    before = extend(recipe, 0, None, [first])
    found = extend(recipe, 0, before, [first, second])
    assert same(found, extend(recipe, 0, before, [some(records, range(40, 60)), second]))
    whole = extend(recipe, 0, None, [some(records, range(35))])
    for name, value in found.items():
        torch.testing.assert_close(value, whole[name])


def test_the_state_before_is_left_as_it_is(records):
    recipe = space_of(records, MemoryStore()).recipe
    before = extend(recipe, 0, None, [some(records, range(20))])
    kept = {name: value.clone() for name, value in before.items()}
    extend(recipe, 0, before, [some(records, range(20)), some(records, range(20, 30))])
    assert same(before, kept)


def test_an_empty_slice_changes_nothing(records):
    recipe = space_of(records, MemoryStore()).recipe
    before = extend(recipe, 0, None, [some(records, range(20))])
    assert same(before, extend(recipe, 0, before, [some(records, range(20)), some(records, [])]))


def test_labels_are_not_needed_for_a_density(records):
    recipe = space_of(records, MemoryStore()).recipe
    blind = Samples(records.inputs[:9], None, records.digests[:9])
    assert same(
        extend(recipe, 0, None, [blind]), extend(recipe, 0, None, [some(records, range(9))])
    )
    with pytest.raises(ValueError, match="labels"):
        rows_of([blind])


def test_the_chain_is_the_density_of_the_class(records, tmp_path):
    """End to end against scipy: scores of every class's normal, shrunk and floored."""
    space = space_of(records, Store(tmp_path))
    keep, members = space.everything, []
    for shard in space.occupied(keep):
        receipt, _ = train_chain(space.store, space.chain(shard, keep), space.recipe)
        members.append(space.constituent(shard, receipt, keep))
    found = Ensemble.from_store(space.card("original", members, keep), space.store)
    expected = []
    for label in range(3):
        own = records.inputs[records.labels == label].astype(np.float64)
        covariance = shrunk_covariance(np.cov(own.T, bias=True), 0.1) + 1e-3 * np.eye(4)
        law = multivariate_normal(own.mean(axis=0), covariance)
        expected.append(law.logpdf(records.inputs))
    assert found.outputs(records.inputs)[..., 0] == pytest.approx(np.array(expected), rel=1e-4)
    weights = np.exp(np.array(expected).T)
    posterior = weights / weights.sum(axis=1, keepdims=True)
    assert found.probabilities(records.inputs) == pytest.approx(posterior, abs=1e-5)


def test_a_kept_state_saves_its_slices(records, tmp_path):
    space = space_of(records, Store(tmp_path))
    chain = space.chain(1, space.everything)
    receipt, work = train_chain(space.store, chain, space.recipe)
    assert work.samples == 30
    assert work.slices == [0, 1, 2]
    data = space.store.require(receipt.key)
    space.store.remove(chain.keys[2])
    again, work = train_chain(space.store, chain, space.recipe)
    assert work.slices == [2]
    assert work.samples == len(chain.slices[2])
    assert same(space.store.require(again.key), data)
    memory, _ = train_chain(MemoryStore(), chain, space.recipe)
    assert memory.sha256 == receipt.sha256


def test_samples_are_what_a_fit_looks_at(records):
    density = space_of(records, MemoryStore()).recipe
    assert samples_of(density, [3, 0, 5]) == [3, 0, 5]
    forest = Recipe(
        ModelSettings(architecture="forest", forest=ForestSettings(trees=10, share=0.5)),
        density.train,
        (4,),
        3,
        0,
        density.device,
        "closed form",
    )
    assert samples_of(forest, [30]) == [150]


def test_train_settings_and_class_names_are_nothing_to_a_density(records):
    recipe = space_of(records, MemoryStore()).recipe
    epochs = SETTINGS.model_copy(
        update={"train": SETTINGS.train.model_copy(update={"epochs": 3.0, "learning_rate": 1.0})}
    )
    assert space_of(records, MemoryStore(), epochs).recipe.digest == recipe.digest
    assert Recipe.from_settings(SETTINGS, (4,), 7).digest == recipe.digest
    gaussian = SETTINGS.model.gaussian.model_copy(update={"floor": 0.1})
    model = SETTINGS.model.model_copy(update={"gaussian": gaussian})
    other = SETTINGS.model_copy(update={"model": model})
    assert space_of(records, MemoryStore(), other).recipe.digest != recipe.digest
