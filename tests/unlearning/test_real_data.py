"""Deletions and sharding on real files: a person of UCI HAR, digits of MNIST."""

from statistics import mean

import numpy as np
import pytest

from forgetflow.config.data import DataSettings
from forgetflow.keys.digests import set_digest
from forgetflow.records.record_set import build_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures
from forgetflow.records.sources.registry import import_records
from forgetflow.studies.builds import builds
from forgetflow.studies.protocol import StudyData
from forgetflow.unlearning.cost import cost_of
from forgetflow.unlearning.protocol import jobs_of
from forgetflow.unlearning.registry import method_named

pytestmark = [pytest.mark.data, pytest.mark.slow]

NETWORK = {"architecture": "mlp", "hidden": [128], "normalize": "none"}
TRAIN = {"batch_size": 16, "learning_rate": 0.02, "momentum": 0.9}
WINDOWS_OF_PERSON_5 = 302  # as the data set's own subject files count them


@pytest.fixture(scope="module")
def mnist(data_folder):
    folder = data_folder / "mnist"
    if not folder.is_dir():
        pytest.skip("FORGETFLOW_DATA has no folder mnist")
    return import_records(DataSettings(source="idx", path=str(folder)))


@pytest.fixture(scope="module")
def people(data_folder):
    """Windows of the 21 training people of UCI HAR, flat, each with its person as subject."""
    path = data_folder / "uci_har" / "uci_har_inertial.npz"
    if not path.is_file():
        pytest.skip("FORGETFLOW_DATA has no uci_har/uci_har_inertial.npz")
    raw = np.load(path)
    where = np.flatnonzero(~raw["official_test"])
    windows = raw["signal"][raw["window_start"][where][:, None] + np.arange(128)]
    return build_record_set(
        RecordSchema(tuple(raw["activity_names"].tolist()), TensorFeatures((1152,), "float32")),
        record_ids=[f"window-{one:05d}" for one in where],
        subject_ids=[f"person-{one:02d}" for one in raw["subject"][where]],
        labels=raw["activity"][where].astype(np.int64) - 1,
        features=windows.reshape(len(where), -1),
        where="uci_har",
    )


def test_a_person_leaves_with_all_windows_and_one_shard_is_trained_again(lab, people):
    space = lab.space(
        people,
        partition={"method": "sisa", "shards": 5, "slices": 2},
        model=NETWORK | {"normalize": "standard"},
        train=TRAIN | {"epochs": 1},
    )
    forget = np.array(people.subject_ids) == "person-05"
    assert forget.sum() == WINDOWS_OF_PERSON_5
    shards = set(space.assignment.shard[forget].tolist())
    assert len(shards) == 1

    parent = lab.build(space)
    child = lab.unlearn(lab.view(space, parent, forget))
    alone = lab.without(space, forget)
    assert child.digest == lab.build(alone).digest
    assert lab.states(space, ~forget) == lab.states(alone)
    changed = {
        new.shard
        for new, old in zip(child.constituents, parent.constituents, strict=True)
        if new.weights != old.weights
    }
    assert changed == shards
    gone = {row.tobytes() for row in people.digests[forget]}
    for member in child.constituents:
        for name in member.learned_from:
            assert gone.isdisjoint(row.tobytes() for row in space.store.members(name))


def test_one_digit_of_mnist_costs_one_shard_and_leaves_the_bytes_of_full_retraining(
    lab, mnist, mask_of
):
    records = mnist.train
    space = lab.space(
        records,
        partition={"method": "sisa", "shards": 10, "slices": 1},
        model=NETWORK,
        train=TRAIN | {"epochs": 1},
    )
    forget = mask_of(records, 4711)
    parent = lab.build(space)
    cards, samples = {}, {}
    for method in ("sisa", "retrain"):
        view = lab.view(space, parent, forget, method)
        cards[method] = lab.unlearn(view, method)
        jobs = jobs_of(method_named(method), view)
        fresh = [key for job in jobs for key in job.fresh]
        samples[method] = cost_of(space.store, fresh).backward_samples
    assert cards["sisa"].digest == cards["retrain"].digest != parent.digest
    own = space.assignment.shard == space.assignment.shard[4711]
    assert samples == {"sisa": own.sum() - 1, "retrain": len(records) - 1}
    kept = cards["sisa"].constituent(int(space.assignment.shard[4711])).learned_from
    assert kept == (set_digest(records.digests[own & ~forget]),)


def test_ten_shards_of_mnist_lose_less_than_two_points_against_one_model(lab, mnist):
    space = lab.space(mnist.train, model=NETWORK, train=TRAIN | {"epochs": 10})
    data = StudyData(space.settings, space.records, mnist.test)
    one, ten = (mean(build.mean for build in builds(data, shards, 1, 2)) for shards in (1, 10))
    assert one > 0.97
    assert one - 0.02 < ten < one
