"""The study of ARCANE: counts against real deletions, rows against what was trained."""

import json

import numpy as np
import pytest

from forgetflow.config.partition import SelectionSettings
from forgetflow.config.settings import Settings
from forgetflow.errors import InputError
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.partition.registry import place
from forgetflow.partition.slices import bands
from forgetflow.records.record_set import build_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures
from forgetflow.store.store import Store
from forgetflow.studies.arcane import ARCANE, ArcaneStudy
from forgetflow.studies.arcane_builds import (
    arcane_rows,
    candidates,
    head_settings,
    joint_settings,
    network_row,
    outcome,
)
from forgetflow.studies.arcane_counts import (
    Counter,
    bounds_of,
    leavers,
    priors_of,
    requested,
    sorted_blocks,
)
from forgetflow.studies.arcane_deletions import deletion_rows, expectation, order_rows
from forgetflow.studies.arcane_grid import ArcaneGrid, Chosen, partition_for, selection_for
from forgetflow.studies.builds import space_of
from forgetflow.studies.counting import retrained
from forgetflow.studies.draws import Draws
from forgetflow.studies.protocol import StudyData
from forgetflow.training.recipe import Recipe
from forgetflow.training.trainer import train_chains
from forgetflow.unlearning.protocol import jobs_of
from forgetflow.unlearning.registry import method_named
from forgetflow.unlearning.runner import deletion_cost
from forgetflow.unlearning.view import View

SETTINGS = Settings.model_validate(
    {
        "partition": {"selection": {"low": -4.0, "high": 6.0, "bins": 8}},
        "model": {"hidden": [8]},
        "train": {"epochs": 3, "batch_size": 4, "learning_rate": 0.1},
        "run": {"device": "cpu"},
    }
)
GRID = ArcaneGrid(
    ("autoencoder", "gaussian"),
    (0.5,),
    (1, 3),
    (1, 6),
    seeds=2,
    draws=30,
    hidden=(3,),
    rate=None,
)


def make_records(count=120, priors=None):
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
CHOICES = [
    Chosen("all", 1.0),
    Chosen("joint", 0.5),
    Chosen("frozen", 0.5),
    Chosen("threshold", 0.4),
]


def recipes():
    return {
        head: Recipe.from_settings(head_settings(SETTINGS, GRID, head), (6,), 3)
        for head in GRID.heads
    }


def really_trained(head, chosen, blocks, servings, folder):
    """Delete step by step in a workspace and return the samples that its states took."""
    settings = head_settings(SETTINGS, GRID, head)
    partition = partition_for(RECORDS, chosen, blocks, SETTINGS)
    space = space_of(DATA, settings, partition, 0)
    space = type(space)(
        space.settings, space.records, space.assignment, space.recipe, Store(folder)
    )
    gone = np.zeros(len(RECORDS), bool)
    keep, shards = ~gone, space.occupied(~gone)
    done = train_chains(space.store, [(space.chain(n, keep), space.recipe) for n in shards])
    members = [space.constituent(n, r, keep) for n, (r, _) in zip(shards, done, strict=True)]
    card, spent = space.card("original", members, keep), 0
    for leaving in servings:
        forget = np.zeros(len(RECORDS), bool)
        forget[leaving] = True
        method = method_named("sisa")
        gone |= forget
        view = View("b", card, method.needs, space, ~gone, forget)
        jobs = jobs_of(method, view)
        receipts = {job.shard: method.run(view, job) for job in jobs}
        spent += deletion_cost(view, jobs).forward_samples
        members = [space.constituent(n, r, ~gone) for n, r in receipts.items()]
        card = space.card("b", members, ~gone)
    return spent


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("chosen", CHOICES, ids=lambda c: c.choice)
@pytest.mark.parametrize("head", GRID.heads)
def test_counts_are_what_the_trainer_really_trains(head, chosen, together, tmp_path):
    """Only states that did not exist are counted by a receipt, so draws start afresh."""
    draws = requested("uniform", RECORDS, 5, 3, 1)
    counter = Counter(RECORDS, selection_for(RECORDS, chosen, SETTINGS.partition.selection))
    placed = {3: place(RECORDS, partition_for(RECORDS, chosen, 3, SETTINGS), 0)}
    found, idle = counter.count(placed, {head: recipes()[head]}, draws, together=together)
    for number in range(3):
        own = draws.record[draws.draw == number]
        servings = [own] if together else [[one] for one in own]
        spent = really_trained(head, chosen, 3, servings, tmp_path / str(number))
        assert found[head, 3].samples[number] == spent
    assert idle.shape == (3,)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("kind", ["uniform", "class", "subject"])
def test_without_selection_counts_are_those_of_sharding(kind, together):
    draws = requested(kind, RECORDS, 6, 30, 0)
    placed = place(RECORDS, partition_for(RECORDS, CHOICES[0], 3, SETTINGS), 0)
    counter = Counter(RECORDS, SelectionSettings())
    found, idle = counter.count({3: placed}, recipes(), draws, together=together)
    expected = retrained(placed, draws, 3, 4, together=together)
    assert np.array_equal(found["autoencoder", 3].samples, expected.samples)
    assert not idle.any()


def test_a_counter_starts_afresh_every_time():
    draws = requested("uniform", RECORDS, 6, 30, 0)
    chosen = CHOICES[1]
    placed = {3: place(RECORDS, partition_for(RECORDS, chosen, 3, SETTINGS), 0)}
    counter = Counter(RECORDS, selection_for(RECORDS, chosen, SETTINGS.partition.selection))
    first, second = (
        counter.count(placed, recipes(), draws, together=False)[0]["gaussian", 3].samples
        for _ in range(2)
    )
    assert np.array_equal(first, second)


def test_training_anew_is_epochs_times_records():
    draws = requested("uniform", RECORDS, 6, 30, 0)
    chosen = CHOICES[2]
    placed = {1: place(RECORDS, partition_for(RECORDS, chosen, 1, SETTINGS), 0)}
    counter = Counter(RECORDS, selection_for(RECORDS, chosen, SETTINGS.partition.selection))
    spent = counter.count(placed, recipes(), draws, together=True)[0]
    assert (spent["autoencoder", 1].full == 3 * 114).all()
    assert (spent["gaussian", 1].full == 114).all()
    assert (spent["autoencoder", 1].full_selected == 3 * spent["gaussian", 1].full_selected).all()
    assert (spent["gaussian", 1].full_selected <= 60).all()
    in_turn = counter.count(placed, recipes(), draws, together=False)[0]
    assert (in_turn["gaussian", 1].full == sum(120 - n for n in range(1, 7))).all()


def test_a_class_that_goes_is_not_trained():
    everybody = np.flatnonzero(RECORDS.labels == 1)
    draws = Draws(1, 1, np.zeros(40, np.int64), np.zeros(40, np.int64), everybody.astype(np.int64))
    placed = {1: place(RECORDS, partition_for(RECORDS, CHOICES[0], 1, SETTINGS), 0)}
    spent, idle = Counter(RECORDS, SelectionSettings()).count(
        placed, recipes(), draws, together=True
    )
    assert spent["gaussian", 1].samples.tolist() == [0]
    assert spent["gaussian", 1].full.tolist() == [80]
    assert idle.tolist() == [0]


@pytest.mark.parametrize("choice", ["joint", "threshold", "random"])
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_selections_keep_about_the_share_that_is_asked_for(choice, share):
    records = make_records(600)
    chosen = Chosen(choice, share)
    keep = candidates(records, chosen, 0)
    partition = partition_for(records, chosen, 1, SETTINGS)
    space = space_of(
        StudyData(SETTINGS, records, TEST),
        head_settings(SETTINGS, GRID, "gaussian"),
        partition,
        0,
    )
    assert space.learned(keep).mean() == pytest.approx(share, abs=0.12)


def test_outcomes_say_what_was_built():
    own = head_settings(SETTINGS, GRID, "gaussian")
    for blocks in GRID.blocks:
        space = space_of(DATA, own, partition_for(RECORDS, CHOICES[0], blocks, SETTINGS), 0)
        one = outcome(space, space.everything, TEST)
        assert one.learned == one.samples == 120
        state = 8 * (1 + 6 + 36)  # a count, a mean, a scatter
        assert 3 * blocks * state < one.megabytes * 1e6 < 3 * blocks * (state + 400)
        assert one.worst_class <= one.accuracy
        assert 0.5 < one.accuracy <= 1


def test_rows_are_means_over_seeds():
    rows = arcane_rows(DATA, GRID, "gaussian", "all", 1.0)
    assert [row["blocks"] for row in rows] == list(GRID.blocks)
    own = head_settings(SETTINGS, GRID, "gaussian")
    for row in rows:
        partition = partition_for(RECORDS, CHOICES[0], row["blocks"], SETTINGS)
        spaces = [space_of(DATA, own, partition, number) for number in range(2)]
        accuracies = [outcome(space, space.everything, TEST).accuracy for space in spaces]
        assert row["accuracy"] == pytest.approx(np.mean(accuracies))
        assert row["accuracy_sd"] == pytest.approx(np.std(accuracies, ddof=1))
        assert row["share_learned"] == 1
    assert rows[0]["accuracy"] == pytest.approx(rows[1]["accuracy"], abs=0.05)


def test_the_joint_model_is_sisa_with_one_shard():
    joint, sisa = (network_row(DATA, GRID, *cell) for cell in ((1, 1), (3, 1)))
    assert (joint["model"], sisa["model"]) == ("joint", "sisa")
    assert joint["samples"] == sisa["samples"] == 360
    assert sisa["megabytes"] == pytest.approx(3 * joint["megabytes"], rel=0.01)


def test_a_project_without_a_network_is_compared_with_one():
    arcane = SETTINGS.model_copy(update={"model": head_settings(SETTINGS, GRID, "gaussian").model})
    assert joint_settings(arcane).model.architecture == "mlp"
    assert joint_settings(SETTINGS) is SETTINGS


def test_expected_costs_by_hand():
    assert expectation(100, 1, 1.0, 1, 10) == pytest.approx(1000)
    assert expectation(100, 2, 0.5, 1, 10) == pytest.approx(2 * 0.25 * 1000)
    assert expectation(100, 1, 1.0, 2, None) == pytest.approx(75)
    blocks, epochs = 5, 7
    by_block = [
        2 * epochs / (blocks + 1) * sum(n / blocks for n in range(first, blocks + 1))
        for first in range(1, blocks + 1)
    ]
    assert expectation(1, 1, 1.0, blocks, epochs) == pytest.approx(np.mean(by_block))


def test_the_expectation_holds_on_average():
    records = make_records(900)
    grid = ArcaneGrid(
        ("autoencoder", "gaussian"), (0.5,), (4,), (1,), seeds=1, draws=400, hidden=(3,), rate=None
    )
    data = StudyData(SETTINGS, records, TEST)
    for chosen in (Chosen("all", 1.0), Chosen("frozen", 0.5)):
        rows = deletion_rows(data, grid, chosen.choice, chosen.share)
        known = [row for row in rows if row["formula"] and row["kind"] == "uniform"]
        assert len(known) == 2
        for row in known:
            assert row["samples"] == pytest.approx(row["formula"], rel=0.2)
            assert row["idle"] == pytest.approx(1 - chosen.share, abs=0.1)


def test_own_priors_are_taken_where_there_are_any():
    priors = np.linspace(0.1, 0.9, 120)
    found, source = priors_of(make_records(priors=priors.tolist()), 0)
    assert np.array_equal(found, priors)
    assert "deletion priors" in source
    drawn, source = priors_of(RECORDS, 0)
    assert "synthetic" in source
    assert ((drawn >= 1e-3) & (drawn <= 0.1)).all()
    assert np.array_equal(drawn[::2], drawn[1::2]), "a subject has one prior"


def test_bounds_cut_the_law_of_synthetic_priors_into_equal_blocks():
    drawn, _ = priors_of(make_records(4000), 0)
    bounds = bounds_of(drawn, (), 5, synthetic=True)
    shares = np.bincount(bands(drawn, bounds.tolist()), minlength=5) / 4000
    assert shares == pytest.approx([0.2] * 5, abs=0.04)
    assert bounds_of(drawn, (0.2, 0.5), 5, synthetic=False).tolist() == [0.2, 0.5]
    assert len(bounds_of(drawn, (0.2, 0.5), 2, synthetic=False)) == 1


def test_orders_put_likely_leavers_last_anywhere_or_first():
    priors, _ = priors_of(RECORDS, 0)
    bounds = bounds_of(priors, (), 3, synthetic=True)
    up, plain, down = (
        sorted_blocks(RECORDS, priors, bounds, order, 3, 0)
        for order in ("ascending", "hash", "descending")
    )
    assert np.array_equal(np.diff(up.slice[np.argsort(priors, kind="stable")]) >= 0, [True] * 119)
    assert np.array_equal(down.slice, 2 - up.slice)
    assert np.array_equal(
        plain.slice, place(RECORDS, partition_for(RECORDS, CHOICES[0], 3, SETTINGS), 0).slice
    )


def test_subjects_leave_in_proportion_to_their_priors():
    priors, _ = priors_of(RECORDS, 0)
    law = leavers(RECORDS, priors, 5)
    assert law.chances.sum() == pytest.approx(5)
    assert law.chances / priors[::2] == pytest.approx(law.chances[0] / priors[0])


def test_whole_subjects_leave():
    draws = requested("subject", RECORDS, 4, 30, 0)
    for number in range(30):
        own = draws.draw == number
        people = {RECORDS.subject_ids[i] for i in draws.record[own]}
        assert len(people) == 4
        assert own.sum() == 8
        assert set(draws.request[own].tolist()) == set(range(4))
    assert requested("subject", RECORDS, 60, 30, 0) is None


def test_sorting_pays_with_many_draws():
    records = make_records(600)
    grid = ArcaneGrid(
        ("autoencoder", "gaussian"), (), (5,), (1,), seeds=1, draws=200, hidden=(3,), rate=None
    )
    data = StudyData(SETTINGS, records, TEST)
    rows = {(r["order"], r["head"]): r for r in order_rows(data, grid)}
    for head in grid.heads:
        up, plain, down = (rows[order, head] for order in ("ascending", "hash", "descending"))
        assert up["to_hash"] < -3 * up["to_hash_se"]
        assert down["to_hash"] > 3 * down["to_hash_se"]
        assert plain["to_hash"] == 0


@pytest.fixture(scope="module")
def study():
    measured = {name: [] for name in ARCANE.measures}
    for trial in ARCANE.trials(DATA, GRID):
        found = ARCANE.measures[trial.measure](DATA, GRID, **trial.arguments)
        measured[trial.measure].append(json.loads(json.dumps(found)))
    return ARCANE.assemble(DATA, GRID, measured)


def test_rows_cover_the_grid_and_alpha_one_is_always_there(study):
    assert {(r["selection"], r["share"]) for r in study.models if r["model"] == "gaussian"} == {
        ("all", 1.0),
        ("joint", 0.5),
        ("threshold", 0.5),
        ("random", 0.5),
    }
    kinds = {(r["model"], r["selection"]) for r in study.deletions}
    assert ("sisa", "all") in kinds
    assert ("autoencoder", "frozen") in kinds
    assert all(not r["exact"] for r in study.deletions if r["selection"] == "frozen")
    assert all(r["exact"] for r in study.deletions if r["selection"] != "frozen")
    assert {r["order"] for r in study.orders} == {"ascending", "hash", "descending"}


def test_selection_gains_less_over_the_selected_than_over_all(study):
    for row in study.deletions:
        if row["share"] < 1 and row["speedup"]:
            assert row["speedup_selected"] < row["speedup"]
        elif row["speedup"]:
            assert row["speedup_selected"] == row["speedup"]


def test_files_hold_the_study_and_name_nobody(study):
    files = ARCANE.files(study)
    assert set(files) == {"models.csv", "deletions.csv", "orders.csv", "arcane.json"}
    assert from_json(ArcaneStudy, json.loads(files["arcane.json"])) == study
    for content in files.values():
        assert b"person-" not in content
        assert b"record-" not in content


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"heads": ["svdd"]}, "--heads"),
        ({"shares": [1.5]}, "--shares"),
        ({"blocks": [0]}, "--blocks"),
        ({"requests": []}, "--requests"),
        ({"seeds": 0}, "--seeds"),
        ({"draws": 5}, "--draws"),
        ({"rate": -1.0}, "--rate"),
        ({"hidden": []}, "--hidden"),
    ],
)
def test_impossible_grids_are_refused(changes, said):
    known = {
        "heads": ["gaussian"],
        "shares": [0.5],
        "blocks": [1],
        "requests": [1],
        "seeds": 1,
        "draws": 30,
        "hidden": [3],
        "rate": None,
    }
    with pytest.raises(InputError, match=said):
        ArcaneGrid(**(known | changes))


@pytest.mark.parametrize(
    ("blocks", "requests", "selection", "said"),
    [
        ((41,), (1,), {}, "smallest class"),
        ((1,), (40,), {}, "39 is the most"),
        ((1,), (1,), {"low": 100.0, "high": 200.0}, "one bin"),
    ],
)
def test_records_that_cannot_fill_a_grid_are_refused(blocks, requests, selection, said):
    grid = ArcaneGrid(
        ("gaussian",), (0.5,), blocks, requests, seeds=1, draws=30, hidden=(3,), rate=None
    )
    partition = SETTINGS.partition.model_copy(update={"selection": SelectionSettings(**selection)})
    data = StudyData(SETTINGS.model_copy(update={"partition": partition}), RECORDS, TEST)
    with pytest.raises(InputError, match=said):
        grid.check(data)
    GRID.check(DATA)


def test_a_grid_survives_its_json():
    assert from_json(ArcaneGrid, json.loads(json.dumps(to_json(GRID)))) == GRID
