"""The study of sharding: counts against real deletions, means against exact expectations."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forgetflow.config.settings import Settings
from forgetflow.errors import InputError
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.partition.assignment import Assignment
from forgetflow.partition.forecast import joint_batch, joint_sequential
from forgetflow.partition.registry import place
from forgetflow.records.record_set import RecordSet, build_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures
from forgetflow.store.store import Store
from forgetflow.studies.builds import accuracies, builds, cell_space
from forgetflow.studies.counting import retrained, samples
from forgetflow.studies.draws import KINDS, Draws, Kind, Leavers, Pools, chances, drawn, law
from forgetflow.studies.expected import expected
from forgetflow.studies.protocol import StudyData
from forgetflow.studies.sharding import SHARDING, Sharding
from forgetflow.studies.sharding_counts import deletion_rows
from forgetflow.studies.sharding_grid import ShardingGrid, layout
from forgetflow.training.ensemble import Ensemble
from forgetflow.training.schedule import samples_in, slice_steps
from forgetflow.training.trainer import train_chain
from forgetflow.training.workspace import Workspace

SETTINGS = Settings.model_validate(
    {
        "model": {"hidden": [8]},
        "train": {"epochs": 3, "batch_size": 4, "learning_rate": 0.1},
        "run": {"device": "cpu"},
    }
)
GRID = ShardingGrid((1, 3), (1, 2), (1, 6), seeds=2, draws=400)


def make_records(count: int = 120, priors: Any = None) -> RecordSet:
    rng = np.random.default_rng(count)
    labels = np.arange(count) % 3
    return build_record_set(
        RecordSchema(("a", "b", "c"), TensorFeatures((6,), "float32")),
        record_ids=[f"record-{i:04d}" for i in range(count)],
        subject_ids=[f"person-{i // 2:04d}" for i in range(count)],
        labels=labels,
        features=(rng.normal(size=(count, 6)) + labels[:, None]).astype(np.float32),
        priors=priors,
        where="test",
    )


RECORDS = make_records()
TEST = make_records(60)
DATA = StudyData(SETTINGS, RECORDS, TEST)


@pytest.mark.parametrize("slices", [1, 3, 7])
@pytest.mark.parametrize("epochs", [0.5, 3, 10])
def test_samples_are_the_schedules(slices: int, epochs: float) -> None:
    sizes = np.random.default_rng(slices).integers(0, 23, size=(200, slices))
    found = samples(sizes, epochs, 4)
    for own, counted in zip(sizes.tolist(), found.tolist(), strict=True):
        steps = slice_steps(own, epochs, 4)
        unions = np.cumsum(own).tolist()
        assert counted == [samples_in(u, 4, n) for u, n in zip(unions, steps, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (5, 1)])
def test_counts_are_those_of_real_deletions(
    kind: Kind, shape: tuple[int, int], tmp_path: Path
) -> None:
    """Train, forget request by request and all at once, and add up what was trained."""
    train = SETTINGS.train
    placed = place(RECORDS, layout(*shape), 0)
    draws = drawn(kind, RECORDS, 5, 2, seed=0)
    counted = {
        together: retrained(placed, draws, train.epochs, train.batch_size, together=together)
        for together in (True, False)
    }
    base = cell_space(DATA, *shape, 0)
    for draw in range(draws.count):
        own = draws.draw == draw
        for together in (True, False):
            space = replace(base, store=Store(tmp_path / f"{draw}-{together}"))
            keep = space.everything
            _train(space, keep)
            spent = 0
            turns = np.zeros_like(draws.request) if together else draws.request
            for turn in np.unique(turns[own]):
                keep[draws.record[own & (turns == turn)]] = False
                spent += _train(space, keep)
            assert spent == counted[together].samples[draw]


def _train(space: Workspace, keep: Any) -> int:
    chains = [space.chain(shard, keep) for shard in space.occupied(keep)]
    return sum(train_chain(space.store, chain, space.recipe)[1].samples for chain in chains)


def test_one_shard_of_one_slice_is_full_retraining() -> None:
    rows = deletion_rows(DATA, GRID, 1, 1)
    for row in (r for r in rows if r["kind"] == "uniform"):
        left = 120 - row["requests"]
        assert row["speedup"] == 1
        assert row["deviation"] == 0
        if row["mode"] == "batch":
            assert row["samples"] == row["points"] == row["full"] == 3 * left
        assert row["formula"] == pytest.approx(row["points"])
        assert row["lone_shard"] == pytest.approx(row["points"])


def test_the_cell_1_1_trains_the_same_model_as_a_full_build() -> None:
    found = builds(DATA, 1, 1, 2)
    space = cell_space(DATA, 1, 1, 1)
    chain = space.chain(0, space.everything)
    receipt, work = train_chain(space.store, chain, space.recipe)
    member = space.constituent(0, receipt, space.everything)
    card = space.card("original", [member], space.everything)
    right = Ensemble.from_store(card, space.store).predict(TEST.inputs) == TEST.labels
    one = found[1]
    assert one.mean == one.vote == one.lone == one.worst == right.mean()
    assert one.samples == work.samples == 3 * 120


def test_builds_do_not_depend_on_others() -> None:
    both = builds(DATA, 3, 2, 2)
    alone = builds(DATA, 3, 2, 1)
    assert replace(both[0], seconds=0) == replace(alone[0], seconds=0)


def test_mean_and_vote_by_hand() -> None:
    members = np.array([[[0.9, 0.1]], [[0.4, 0.6]], [[0.4, 0.6]]], np.float32)
    assert accuracies(members, np.array([1])) == {
        "mean": 0.0, "vote": 1.0, "lone": pytest.approx(2 / 3), "worst": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("requests", [1, 4, 20])
@pytest.mark.parametrize("shape", [(1, 1), (4, 1), (1, 5), (6, 3)])
def test_means_of_many_draws_are_the_expectation(
    kind: Kind, requests: int, shape: tuple[int, int]
) -> None:
    count = 4000
    placed = place(RECORDS, layout(*shape), 3)
    draws = drawn(kind, RECORDS, requests, count, seed=5)
    known = expected(placed, law(kind, RECORDS, requests, 5), 3.0)
    batch = retrained(placed, draws, 3.0, 4, together=True).points
    assert abs(batch.mean() - known.batch) <= 3 * known.batch_sd / np.sqrt(count) + 1e-6
    turns = retrained(placed, draws, 3.0, 4, together=False).points
    assert abs(turns.mean() - known.sequential) <= 3 * turns.std() / np.sqrt(count) + 1e-6


def test_the_expectation_is_the_sum_over_all_forget_sets() -> None:
    """Every one of the C(8, 3) sets, once."""
    small = make_records(8)
    placed = place(small, layout(3, 2), 1)
    sets = list(combinations(range(8), 3))
    costs = costs_of(placed, sets)
    known = expected(placed, Pools([np.arange(8)], 3), 2.0)
    assert len(sets) == comb(8, 3)
    assert known.batch == pytest.approx(costs.mean())
    assert known.batch_sd == pytest.approx(costs.std())


def test_the_expectation_is_the_sum_over_all_who_may_leave() -> None:
    """Every one of the 2^6 sets of people, with its chance."""
    small = make_records(12)
    placed = place(small, layout(3, 2), 1)
    chance = np.array([0.0, 0.1, 0.9, 1.0, 0.5, 0.3])
    people = [[p for p in range(6) if bits >> p & 1] for bits in range(64)]
    weights = np.array(
        [np.where(np.isin(range(6), own), chance, 1 - chance).prod() for own in people]
    )
    costs = costs_of(placed, [[r for p in own for r in (2 * p, 2 * p + 1)] for own in people])
    known = expected(placed, Leavers(small.subject_ids, chance), 2.0)
    mean = weights @ costs
    assert weights.sum() == pytest.approx(1)
    assert known.batch == pytest.approx(mean)
    assert known.batch_sd == pytest.approx(np.sqrt(weights @ (costs - mean) ** 2))


def costs_of(placed: Assignment, sets: Sequence[Sequence[int]]) -> Any:
    """Return the points of each forget set, all its records at once."""
    draw = np.repeat(np.arange(len(sets)), [len(own) for own in sets])
    record = np.array([one for own in sets for one in own], np.int64)
    draws = Draws(len(sets), 1, draw, np.zeros_like(draw), record)
    return retrained(placed, draws, 2.0, 4, together=True).points


def test_on_equal_shards_and_slices_the_expectation_is_the_closed_form() -> None:
    total = 12_000
    where = np.arange(total)
    placed = Assignment(4, 5, where % 4, where // 4 % 5)
    found = expected(placed, Pools([where], 6), 1.0)
    assert found.batch == pytest.approx(joint_batch(total, 4, 5, 6) - 6, rel=1e-3)
    assert found.sequential == pytest.approx(joint_sequential(total, 4, 5, 6), rel=1e-3)


def test_class_requests_stay_in_one_class_and_skewed_ones_follow_priors() -> None:
    draws = drawn("class", RECORDS, 10, 50, seed=0)
    for draw in range(50):
        assert len(set(RECORDS.labels[draws.record[draws.draw == draw]])) == 1
    priors = np.repeat([0.0, 0.1], 60)
    skewed = law("skewed", make_records(priors=priors), 6, 0)
    assert isinstance(skewed, Leavers)
    assert skewed.chances[:30].sum() == 0
    np.testing.assert_allclose(skewed.chances[30:], 0.2)


def test_chances_are_capped_and_keep_their_sum() -> None:
    found = chances(1 / np.arange(1, 11), 6)
    assert found.sum() == pytest.approx(6)
    assert found.max() == 1
    assert (np.diff(found) <= 0).all()
    assert chances(np.array([1.0, 2.0]), 2).tolist() == [1, 1]
    with pytest.raises(InputError, match="more than the 1 subjects"):
        chances(np.array([0.0, 0.5]), 2)


def test_same_seed_same_draws() -> None:
    for kind in KINDS:
        one, two, other = (drawn(kind, RECORDS, 4, 30, seed=s) for s in (1, 1, 2))
        assert np.array_equal(one.record, two.record)
        assert not np.array_equal(one.record, other.record)


def study() -> Sharding:
    measured: dict[str, list[Any]] = {name: [] for name in SHARDING.measures}
    for trial in SHARDING.trials(DATA, GRID):
        found = SHARDING.measures[trial.measure](DATA, GRID, **trial.arguments)
        measured[trial.measure].append(json.loads(json.dumps(found)))
    return SHARDING.assemble(DATA, GRID, measured)


def test_files_are_whole_and_name_nobody() -> None:
    found = study()
    files = SHARDING.files(found)
    assert set(files) == {"sharding.csv", "points.csv", "paper.csv", "sharding.json"}
    for content in files.values():
        assert b"record-0" not in content
        assert b"person-0" not in content
    data = json.loads(files["sharding.json"])
    assert from_json(Sharding, data) == found
    assert data["check"]["within"] >= data["check"]["compared"] - 2
    assert len(data["points"]) == 4 * 3 * 2 * 2
    assert {row["seeds"] for row in data["cells"]} == {2}
    assert data["facts"] | {"records": 120, "subjects": 60, "test_records": 60} == data["facts"]


def test_metrics_are_named_after_cells() -> None:
    metrics = SHARDING.metrics(study())
    assert {"check.within", "S1.R1.accuracy", "S3.R2.K6.speedup"} <= set(metrics)
    assert all(isinstance(value, float) for value in metrics.values())


def test_a_grid_has_distinct_values_and_full_retraining() -> None:
    grid = ShardingGrid((5, 5, 2), (4,), (3, 1), 1, 30)
    assert grid.cells == [(1, 1), (2, 4), (5, 4)]
    assert grid.requests == (1, 3)
    assert from_json(ShardingGrid, json.loads(json.dumps(to_json(grid)))) == grid


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (((), (1,), (1,), 1, 30), "--shards needs"),
        (((1,), (0,), (1,), 1, 30), "--slices needs"),
        (((1,), (1,), (1,), 0, 30), "--seeds must be"),
        (((1,), (1,), (1,), 1, 2), "--draws must be"),
        (((61,), (1,), (1,), 1, 30), "more than the 60 subjects"),
        (((50,), (3,), (1,), 1, 30), "150 slices for 120 records"),
        (((1,), (1,), (41,), 1, 30), "40 is the most"),
    ],
)
def test_impossible_grids_are_refused(values: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        ShardingGrid(*values).check(DATA)
