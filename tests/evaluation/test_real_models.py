"""Measures on small trained ensembles: do they tell remembering from never having seen?"""

import numpy as np
import pytest

from forgetflow.config.settings import Settings
from forgetflow.evaluation.context import EvaluationContext
from forgetflow.evaluation.cost import retrained_samples
from forgetflow.evaluation.evaluate import evaluate
from forgetflow.evaluation.gate import check_gate
from forgetflow.keys.digests import keyed_hashes
from forgetflow.partition.forecast import restart_slices
from forgetflow.partition.registry import place
from forgetflow.records.record_set import build_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures
from forgetflow.store.store import Store
from forgetflow.training.ensemble import Ensemble
from forgetflow.training.recipe import Recipe
from forgetflow.training.trainer import train_chain
from forgetflow.training.workspace import Workspace
from forgetflow.unlearning.cost import cost_of
from forgetflow.unlearning.protocol import jobs_of
from forgetflow.unlearning.registry import METHODS
from forgetflow.unlearning.view import View

SETTINGS = Settings.model_validate(
    {
        "partition": {"shards": 2, "slices": 3},
        "model": {"hidden": [64]},
        "train": {"epochs": 60, "batch_size": 16, "learning_rate": 0.1},
    }
)
EPOCHS, BATCH = SETTINGS.train.epochs, SETTINGS.train.batch_size


def clusters(count, seed, name, mislabelled=0):
    """Return two clusters of points in ten dimensions; the first `mislabelled` are swapped."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    points = rng.normal(size=(count, 10)) + 1.5 * np.where(labels, 1, -1)[:, None] * np.eye(10)[0]
    labels[:mislabelled] = 1 - labels[:mislabelled]
    return build_record_set(
        RecordSchema(("left", "right"), TensorFeatures((10,), "float32")),
        record_ids=[f"{name}-{i:04d}" for i in range(count)],
        subject_ids=[f"{name}-{i:04d}" for i in range(count)],
        labels=labels,
        features=points.astype(np.float32),
        where="test",
    )


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    train = clusters(200, 0, "train", mislabelled=30)
    recipe = Recipe.from_settings(SETTINGS, train.schema.input_shape, 2)
    store = Store(tmp_path_factory.mktemp("store"))
    return Workspace(SETTINGS, train, place(train, SETTINGS.partition, 0), recipe, store)


@pytest.fixture(scope="module")
def parent(space):
    return build(space, space.everything, "original")


@pytest.fixture(scope="module")
def forget(space):
    """The mislabelled records: a model gets them right only by having memorised them."""
    return space.records.mask([f"train-{i:04d}" for i in range(30)])


@pytest.fixture(scope="module")
def oracle(space, forget):
    other = space.with_seed(1)
    return Ensemble.from_store(build(other, ~forget, "oracle"), space.store)


def build(space, keep, name):
    members = [
        space.constituent(
            shard, train_chain(space.store, space.chain(shard, keep), space.recipe)[0], keep
        )
        for shard in space.occupied(keep)
    ]
    return space.card(name, members, keep)


def evaluated(space, parent, forget, oracle, method):
    view = View("b1", parent, method.needs, space, ~forget, forget)
    jobs = jobs_of(method, view)
    members = [space.constituent(job.shard, method.run(view, job), ~forget) for job in jobs]
    child = Ensemble.from_store(space.card("b1", members, ~forget, parent=parent), space.store)
    sets = {
        "retain": space.records.take(~forget),
        "forget": space.records.take(forget),
        "test": clusters(200, 1, "test"),
    }
    models = {
        "unlearned": child,
        "parent": Ensemble.from_store(parent, space.store),
        "oracle": oracle,
    }
    return evaluate(EvaluationContext(models, sets, SETTINGS)), jobs


def test_publishing_the_parent_is_caught_and_rebuilding_is_not(
    space, parent, forget, oracle
) -> None:
    idle, _ = evaluated(space, parent, forget, oracle, METHODS["none"])
    exact, _ = evaluated(space, parent, forget, oracle, METHODS["sisa"])

    assert idle.metrics["membership"]["unlearned"] == idle.metrics["membership"]["parent"]
    assert idle.metric("membership.unlearned.gap_to_oracle") > 0.2
    assert not check_gate(idle.metrics, SETTINGS.gate, "approximate", 30).passed

    assert abs(exact.metric("membership.unlearned.gap_to_oracle")) < 0.1
    assert (
        exact.metric("accuracy.unlearned.forget") < idle.metric("accuracy.unlearned.forget") - 0.3
    )
    assert check_gate(exact.metrics, SETTINGS.gate, "exact", 30).passed
    for path in ("forget.js", "forget.identical"):
        near, far = (e.metric(f"distance.unlearned.{path}") for e in (exact, idle))
        assert near < far if path.endswith("js") else near > far


def test_two_exact_methods_have_the_same_metrics(space, parent, forget, oracle) -> None:
    sisa, _ = evaluated(space, parent, forget, oracle, METHODS["sisa"])
    retrain, _ = evaluated(space, parent, forget, oracle, METHODS["retrain"])
    assert sisa.metrics == retrain.metrics
    assert sisa.tables == retrain.tables


def test_metrics_do_not_depend_on_the_order_of_records(space, parent, forget, oracle) -> None:
    first, _ = evaluated(space, parent, forget, oracle, METHODS["none"])
    order = keyed_hashes(3, "shuffle", space.records.record_ids).argsort()
    sets = {"forget": space.records.take(order[forget[order]]), "test": clusters(200, 1, "test")}
    models = {
        "unlearned": Ensemble.from_store(parent, space.store),
        "parent": Ensemble.from_store(parent, space.store),
        "oracle": oracle,
    }
    second = evaluate(EvaluationContext(models, sets, SETTINGS))
    for model in models:
        expected = first.metrics["membership"][model]
        assert second.metrics["membership"][model] == pytest.approx(expected)


@pytest.mark.parametrize("chosen", [[3], [3, 77, 120], list(range(40, 60))])
def test_the_counter_follows_the_formula(space, parent, chosen) -> None:
    forget = space.records.mask([f"train-{i:04d}" for i in chosen])
    method = METHODS["sisa"]
    view = View("b1", parent, method.needs, space, ~forget, forget)
    jobs = jobs_of(method, view)
    for job in jobs:
        method.run(view, job)
    cost = cost_of(space.store, [key for job in jobs for key in job.fresh])
    restarts = restart_slices(space.assignment, forget)
    sizes = space.assignment.take(~forget).sizes()
    metrics = retrained_samples(cost.backward_samples, sizes, restarts, EPOCHS)
    slices = sum(sizes.shape[1] - first for first in restarts.values())
    assert slices == cost.states
    assert abs(metrics["counted"] - metrics["predicted"]) < 2 * BATCH * slices
    assert 0 < metrics["share_of_full"] <= 1.02


def test_shared_constituents_compute_once_and_change_nothing(space, parent) -> None:
    one = space.records.mask([space.records.record_ids[0]])
    view = View("b1", parent, METHODS["sisa"].needs, space, ~one, one)
    jobs = jobs_of(METHODS["sisa"], view)
    made = [space.constituent(j.shard, METHODS["sisa"].run(view, j), ~one) for j in jobs]
    child = Ensemble.from_store(space.card("b1", made, ~one, parent=parent), space.store)
    models = {"unlearned": child, "parent": Ensemble.from_store(parent, space.store)}
    alone = {name: model.probabilities(space.records.inputs) for name, model in models.items()}

    calls = []
    for model in models.values():
        for network in model.networks:
            network.register_forward_hook(lambda *_: calls.append(1))
    context = EvaluationContext(models, {"retain": space.records}, SETTINGS)
    for name, expected in alone.items():
        assert (context.probabilities(name, "retain") == expected).all()
    shards = len(parent.constituents)
    assert shards > 1
    assert len(calls) == shards + 1, "one of them was trained again"
