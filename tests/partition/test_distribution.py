"""Distribution-aware sharding: stable placement, the two rules, and costs by brute force."""

import json
from itertools import combinations, pairwise, permutations, product
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetflow.cli import texts
from forgetflow.config.partition import PartitionSettings
from forgetflow.config.settings import Settings, parse_settings
from forgetflow.errors import InputError
from forgetflow.files.jsonable import to_json
from forgetflow.partition import expectation, forecast
from forgetflow.partition.assignment import Assignment
from forgetflow.partition.distribution import MAX_BANDS, layout_for, layout_of, shard_sizes
from forgetflow.partition.expectation import Population
from forgetflow.partition.forecast import restart_samples, restart_slices
from forgetflow.partition.recommendation import recommend
from forgetflow.partition.registry import place
from forgetflow.records.record_set import build_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures

SCHEMA = RecordSchema(("a", "b"), TensorFeatures((1,), "float32"))
BANDS = PartitionSettings(
    shards=6,
    slices=5,
    shard_thresholds=(0.1, 0.5),
    band_shards=(1, 2, 3),
    prior_thresholds=(0.05, 0.1, 0.3, 0.7),
)
SHARDS_OF_BAND = [{0}, {1, 2}, {3, 4, 5}]
SVHN = np.repeat([3e-6, 6e-6, 3e-5], [466_747, 77_540, 60_546])


def people(rows):
    """Return a record set of (subject, prior) rows; row i is record ri."""
    return build_record_set(
        SCHEMA,
        record_ids=[f"r{i:05d}" for i in range(len(rows))],
        subject_ids=[subject for subject, _ in rows],
        labels=[i % 2 for i in range(len(rows))],
        features=np.arange(len(rows), dtype=np.float32).reshape(-1, 1),
        priors=[prior for _, prior in rows],
        where="test",
    )


def places(records, settings=BANDS, seed=0):
    """Return record id -> (shard, slice)."""
    found = place(records, settings, seed)
    spots = zip(found.shard.tolist(), found.slice.tolist(), strict=True)
    return dict(zip(records.record_ids, spots, strict=True))


def uniform(priors, shards, records=None):
    own = np.ones(len(priors), int) if records is None else records
    return layout_of(priors, (), (shards,), own)


def agree(samples, expected):
    samples = np.array(samples, float)
    return abs(samples.mean() - expected) <= 3 * samples.std(ddof=1) / sqrt(len(samples))


probabilities = st.floats(0, 1)
rows_of_people = st.dictionaries(
    st.sampled_from(["ann", "bob", "eve", "kim", "lea", "max"]),
    st.tuples(st.none() | probabilities, st.integers(1, 4)),
    min_size=1,
).map(lambda own: [(name, prior) for name, (prior, count) in own.items() for _ in range(count)])


# Placement


@settings(max_examples=60, deadline=None)
@given(rows_of_people, st.data())
def test_removing_any_record_moves_no_other(rows, data):
    records = people(rows)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))))
    everyone, some = places(records), places(records.take(kept))
    assert some == {one: everyone[one] for one in some}
    assert len(some) == kept.sum()


@settings(max_examples=60, deadline=None)
@given(rows_of_people)
def test_a_subject_is_in_one_shard_of_its_band(rows):
    records = people(rows)
    spots = places(records)
    by_subject = {}
    for i, (subject, prior) in enumerate(rows):
        shard = spots[f"r{i:05d}"][0]
        by_subject.setdefault(subject, set()).add(shard)
        band = sum((prior or 0.0) > bound for bound in BANDS.shard_thresholds)
        assert shard in SHARDS_OF_BAND[band]
    assert all(len(shards) == 1 for shards in by_subject.values())


def test_a_prior_equal_to_a_bound_is_not_above_it():
    for band, priors in enumerate([(None, 0.0, 0.1), (0.1001, 0.5), (0.5001, 1.0)]):
        for prior in priors:
            spots = places(people([(f"s{i}", prior) for i in range(60)])).values()
            assert {shard for shard, _ in spots} == SHARDS_OF_BAND[band]


def test_slices_are_divided_by_the_bounds_within_the_band():
    # Band 0 knows 0.05 (0.1 is its own end), band 1 knows 0.3, band 2 knows 0.7.
    for low, high in [(0.04, 0.06), (0.2, 0.4), (0.6, 0.8)]:
        for prior, slices in ((low, {0, 1}), (high, {2, 3, 4})):
            spots = places(people([(f"s{i}", prior) for i in range(80)])).values()
            assert {number for _, number in spots} == slices


def test_a_subject_torn_between_bands_is_refused():
    rows = [("ann", 0.2), ("ann", 0.6), ("bob", 0.2), ("bob", 0.4), ("eve", None), ("eve", 0.2)]
    with pytest.raises(InputError, match=r"2 subject\(s\).*the same deletion_prior"):
        places(people(rows))
    assert places(people(rows[2:4])), "other priors within one band do no harm"
    places(people(rows), BANDS.model_copy(update={"shard_thresholds": (), "band_shards": (6,)}))


def test_without_bounds_placement_is_what_it_was():
    priors = [0.1, 0.2, 0.3, None, 0.9, 0.6]
    rows = list(zip(["ann", "bob", "eve", "kim", "lea", "max"], priors, strict=True))
    plain = PartitionSettings(shards=4, slices=5)
    sliced = plain.model_copy(update={"prior_thresholds": (0.2, 0.6)})
    one_band = plain.model_copy(update={"band_shards": (4,)})
    before = [(2, 2), (0, 1), (0, 2), (2, 3), (1, 2), (0, 1)]
    assert list(places(people(rows), plain, 7).values()) == before
    assert list(places(people(rows), one_band, 7).values()) == before
    before = [(2, 0), (0, 0), (0, 2), (2, 0), (1, 4), (0, 1)]
    assert list(places(people(rows), sliced, 7).values()) == before


# Algorithm 1 and the layouts made from it


def test_algorithm_1_by_hand():
    priors = np.array([1, 1, 2, 4, 8, 16, 32]) / 64
    # 1+1+2+4 = 8, and with 8 more the bound 16 is reached; 8+16 reaches it; 16 and 32 do alone.
    assert shard_sizes(priors, 16 / 64) == [4, 1, 1, 1]
    assert shard_sizes(priors, 17 / 64) == [5, 1, 1]
    assert shard_sizes(priors, 2.0) == [7]
    assert shard_sizes(np.zeros(0), 1.0) == []
    with pytest.raises(InputError, match="greater than 0"):
        shard_sizes(priors, 0.0)


@pytest.mark.parametrize(("bound", "shards"), [(0.2, 19), (0.25, 15), (1.0, 4)])
def test_algorithm_1_on_the_papers_scenario(bound, shards):
    assert len(shard_sizes(SVHN, bound)) == shards


@settings(max_examples=60, deadline=None)
@given(st.lists(probabilities, min_size=1, max_size=30), st.floats(0.01, 3))
def test_algorithm_1_stays_below_its_bound_and_wastes_nothing(priors, bound):
    ordered = np.sort(priors)
    ends = np.cumsum([0, *shard_sizes(ordered, bound)])
    assert ends[-1] == len(priors)
    for low, high in pairwise(ends):
        assert high - low == 1 or ordered[low:high].sum() < bound + 1e-9
        assert high == len(priors) or ordered[low : high + 1].sum() >= bound - 1e-9


def test_the_papers_scenario_as_bands():
    found = layout_for(SVHN, 19)
    assert found.thresholds == (3e-6, 6e-6)
    assert found.shards == (7, 3, 9)
    assert found.subjects == found.records == (466_747, 77_540, 60_546)
    assert max(found.deletions) < 1.05 * SVHN.sum() / 19


@pytest.mark.parametrize("rule", ["deletions", "points"])
@settings(max_examples=60, deadline=None)
@given(
    people=st.lists(st.tuples(probabilities, st.integers(1, 4)), max_size=30),
    shards=st.integers(1, 7),
)
def test_a_layout_is_a_valid_setting_that_counts_everybody(rule, people, shards):
    priors = np.array([prior for prior, _ in people])
    sizes = np.array([count for _, count in people], int)
    found = layout_for(priors, shards, sizes, rule=rule)
    PartitionSettings(shards=shards, shard_thresholds=found.thresholds, band_shards=found.shards)
    assert sum(found.subjects) == len(people)
    assert sum(found.records) == sizes.sum()
    total = np.dot(found.shards, found.deletions)
    assert total == pytest.approx(priors.sum())
    assert found == layout_of(priors, found.thresholds, found.shards, sizes)
    if rule == "points":
        assert found.samples <= 1.01 * uniform(priors, shards, sizes).samples + 1e-9


@settings(max_examples=40, deadline=None)
@given(st.lists(probabilities, min_size=3, max_size=8, unique=True))
def test_expected_deletions_keep_to_the_least_possible_bound(priors):
    ordered = np.sort(priors)
    cuts = combinations(range(1, len(ordered)), 2)
    bound = min(max(part.sum() for part in np.split(ordered, own)) for own in cuts)
    assert max(layout_for(np.array(priors), 3).deletions) <= bound * (1 + 1e-9)


@pytest.mark.parametrize("rule", ["deletions", "points"])
@pytest.mark.parametrize("prior", [0.0, 0.1, 1.0])
def test_equal_priors_are_uniform_sharding(rule, prior):
    found = layout_for(np.full(50, prior), 7, rule=rule)
    assert (found.thresholds, found.shards) == ((), (7,))
    assert found == uniform(np.full(50, prior), 7)


def test_bounds_are_short_decimals_between_the_priors():
    assert layout_for(np.array([0.123456, 0.2]), 2).thresholds == (0.13,)
    assert layout_for(np.array([0.1234567, 0.1234568]), 2).thresholds == (0.1234567,)


@pytest.mark.parametrize("priors", [[-0.1], [1.1], [float("nan")]])
def test_what_is_no_probability_is_refused(priors):
    with pytest.raises(InputError, match="from 0 to 1"):
        layout_for(np.array(priors), 2)
    with pytest.raises(InputError, match="1 or more"):
        layout_for(np.array([0.5]), 0)


# What the rules cost


def test_equal_deletions_cost_what_uniform_sharding_costs():
    priors = np.random.default_rng(1).beta(0.3, 6, 5000)
    deletions, points = (layout_for(priors, 20, rule=rule) for rule in ("deletions", "points"))
    reference = uniform(priors, 20).samples
    assert deletions.samples == pytest.approx(reference, rel=0.02)
    assert points.samples < 0.6 * reference
    assert len(points.shards) <= MAX_BANDS


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0, 0.1, 0.4, 0.9]), st.integers(1, 4)), min_size=1,
             max_size=12),
    st.integers(1, 5),
)  # fmt: skip
def test_points_are_the_fewest_of_all_layouts(people, shards):
    priors = np.array([prior for prior, _ in people], float)
    sizes = np.array([count for _, count in people], int)
    found = layout_for(priors, shards, sizes, rule="points")
    bounds = np.unique(priors)[:-1].tolist()
    everything = [
        layout_of(priors, cut, shares, sizes).samples
        for bands in range(1, min(len(bounds) + 1, shards) + 1)
        for cut in combinations(bounds, bands - 1)
        for shares in product(range(1, shards + 1), repeat=bands)
        if sum(shares) == shards
    ]
    assert min(everything) - 1e-9 <= found.samples <= 1.01 * min(everything) + 1e-9


def test_points_are_expected_over_hashes():
    priors, sizes = np.repeat([0.02, 0.1, 0.5], 20), np.full(60, 2)
    records = people([(f"s{i:02d}", float(prior)) for i, prior in enumerate(priors) for _ in "ab"])
    layout = layout_for(priors, 6, sizes, rule="points")
    chosen = PartitionSettings(
        shards=6, slices=1, shard_thresholds=layout.thresholds, band_shards=layout.shards
    )
    costs = [
        expectation.sequential(
            Population.of(place(records, chosen, seed), records.subject_ids), priors, 1.0
        )
        for seed in range(300)
    ]
    assert max(layout.shards) > 1
    assert agree(costs, layout.samples)


@pytest.fixture(scope="module")
def crowd():
    """400 subjects of 1 to 3 records: most unlikely to leave, some likely."""
    rng = np.random.default_rng(5)
    own = zip(rng.choice([0.002, 0.01, 0.1], 400, p=[0.8, 0.15, 0.05]), rng.integers(1, 4, 400),
              strict=True)  # fmt: skip
    return people(
        [(f"s{i:03d}", float(prior)) for i, (prior, count) in enumerate(own) for _ in range(count)]
    )


def simulate(records, assignment, rng, *, together):
    """Draw who leaves, serve the requests, and count the records passed through training."""
    subjects = np.array(records.subject_ids)
    priors = dict(zip(records.subject_ids, records.priors, strict=True))
    leaving = [one for one, prior in priors.items() if rng.random() < prior]
    rng.shuffle(leaving)
    left, cost = np.ones(len(records), bool), 0.0
    for batch in [leaving] if together else [[one] for one in leaving]:
        forget = np.isin(subjects, batch)
        left &= ~forget
        sizes = assignment.take(left).sizes()
        for shard, first in restart_slices(assignment, forget).items():
            cost += restart_samples(sizes[shard].tolist(), 2.0, first)
    return cost


@pytest.mark.parametrize("together", [True, False])
def test_counted_points_are_as_expected_and_fewer_than_uniform(crowd, together):
    chosen = parse_settings(
        {
            "partition": {"shards": 6, "slices": 3, "prior_thresholds": [0.005]},
            "train": {"epochs": 2},
        }
    )
    found = {option.rule: option for option in recommend(crowd, chosen).options}
    counted = {}
    for rule in ("uniform", "points"):
        layout = found[rule].layout
        bands = {"shard_thresholds": layout.thresholds, "band_shards": layout.shards}
        assignment = place(crowd, chosen.partition.model_copy(update=bands), 0)
        rng = np.random.default_rng(9)
        counted[rule] = [simulate(crowd, assignment, rng, together=together) for _ in range(500)]
        expected = found[rule].batch if together else found[rule].sequential
        assert agree(counted[rule], expected)
    error = sqrt(sum(np.var(one, ddof=1) for one in counted.values()) / 500)
    assert np.mean(counted["points"]) < np.mean(counted["uniform"]) - 3 * error


# Expectations by brute force


@pytest.fixture(scope="module", params=range(3))
def village(request):
    """12 records of 5 subjects on 2 shards of 3 slices, and the cost of any deletion."""
    rng = np.random.default_rng(request.param)
    subject = rng.permutation([0, 1, 2, 3, 4, *rng.integers(0, 5, 7)])
    assignment = Assignment(2, 3, rng.integers(0, 2, 12), rng.integers(0, 3, 12))
    priors = rng.random(5)
    priors[0] = 1.0

    def cost(leaving, before=()):
        forget = np.isin(subject, leaving) & ~np.isin(subject, before)
        sizes = assignment.take(~(forget | np.isin(subject, before))).sizes()
        return sum(
            restart_samples(sizes[shard].tolist(), 3.0, first)
            for shard, first in restart_slices(assignment, forget).items()
        )

    return Population.of(assignment, [f"s{i}" for i in subject]), priors, cost


def everybody_who_may_leave(priors):
    """Yield every set of leaving subjects with its chance."""
    for leaves in product([False, True], repeat=len(priors)):
        chance = np.prod(np.where(leaves, priors, 1 - priors))
        yield np.flatnonzero(leaves).tolist(), chance


def test_a_batch_costs_the_mean_over_all_who_may_leave(village):
    people, priors, cost = village
    expected = sum(chance * cost(who) for who, chance in everybody_who_may_leave(priors))
    assert expectation.batch(people, priors, 3.0) == pytest.approx(expected)


def test_requests_one_by_one_cost_the_mean_over_all_orders(village):
    people, priors, cost = village
    expected = sum(
        chance
        * np.mean(
            [sum(cost([one], who[:i]) for i, one in enumerate(who)) for who in permutations(own)]
        )
        for own, chance in everybody_who_may_leave(priors)
    )
    assert expectation.sequential(people, priors, 3.0) == pytest.approx(expected)


@pytest.mark.parametrize("requests", range(6))
def test_a_draw_costs_the_mean_over_all_draws(village, requests):
    people, _, cost = village
    expected = np.mean([cost(list(who)) for who in combinations(range(5), requests)])
    assert expectation.drawn(people, requests, 3.0) == pytest.approx(expected)


def test_a_full_retraining_after_a_draw(village):
    people, _, _ = village
    everything = 2 * 3.0 / 4 * people.records().sum()
    assert expectation.drawn(people, 2, 3.0, full=True) == pytest.approx(everything * 3 / 5)


def test_impossible_draws_and_priors_are_refused(village):
    people, priors, _ = village
    with pytest.raises(InputError, match="between 0 and 5"):
        expectation.drawn(people, 6, 1.0)
    for wrong in (priors[1:], priors + 1, np.full(5, np.nan)):
        with pytest.raises(InputError, match="5 probabilities"):
            expectation.batch(people, wrong, 1.0)


def test_nobody_costs_nothing():
    nobody = Population.of(Assignment(2, 3, np.zeros(0, int), np.zeros(0, int)), [])
    assert len(nobody) == 0
    assert expectation.drawn(nobody, 0, 1.0) == expectation.batch(nobody, np.zeros(0), 1.0) == 0


@pytest.mark.parametrize("requests", [1, 8, 30])
def test_equal_sizes_give_the_closed_forms(requests):
    count = 100_000
    numbers = np.arange(count)
    equal = Assignment(10, 5, numbers % 10, numbers // 10 % 5)
    people = Population.of(equal, [str(i) for i in numbers])
    batch = forecast.joint_batch(count, 10, 5, requests, 2.0) - 2.0 * requests
    assert expectation.drawn(people, requests, 2.0) == pytest.approx(batch, rel=1e-4)
    priors = np.full(count, requests / count)
    one_by_one = forecast.joint_sequential(count, 10, 5, requests, 2.0)
    assert expectation.sequential(people, priors, 2.0) == pytest.approx(one_by_one, rel=1e-4)


def test_joint_sequential_contains_the_papers_formulas():
    sharding = forecast.sharding_sequential(10_000, 10, 20)
    assert forecast.joint_sequential(10_000, 10, 1, 20) == pytest.approx(sharding)
    slicing = forecast.slicing_sequential(1000, 7, 3.0) - 3.0
    assert forecast.joint_sequential(10_000, 10, 7, 1, 3.0) == pytest.approx(slicing)
    assert forecast.joint_sequential(100, 5, 4, 0) == 0
    with pytest.raises(InputError, match="must be"):
        forecast.joint_sequential(100, 5, 4, 101)


def test_joint_sequential_agrees_with_simulation():
    rng = np.random.default_rng(6)

    def one():
        sizes, cost = np.full((4, 5), 50), 0.0
        for shard, part in zip(rng.integers(4, size=12), rng.integers(5, size=12), strict=True):
            sizes[shard, part] -= 1
            cost += restart_samples(sizes[shard].tolist(), 1.0, part)
        return cost

    assert agree([one() for _ in range(1000)], forecast.joint_sequential(1000, 4, 5, 12))


# The recommendation


def test_a_recommendation_compares_layouts_on_the_records(crowd):
    chosen = parse_settings({"partition": {"shards": 6}})
    found = recommend(crowd, chosen)
    assert [option.rule for option in found.options] == ["uniform", "deletions", "points"]
    assert found.best.rule == "points"
    assert found.subjects == 400
    assert found.full_retraining == 40.0 * len(crowd)
    advice = json.loads(json.dumps(to_json(found)))["recommended"]
    assert advice.pop("rule") == "points"
    followed = parse_settings({"partition": advice})
    text = texts.layouts(found)
    assert f"shard_thresholds: {list(followed.partition.shard_thresholds)}" in text
    assert f"band_shards: {list(followed.partition.band_shards)}" in text

    again = recommend(crowd, followed)
    assert [option.rule for option in again.options] == ["params", "uniform", "deletions", "points"]
    assert again.best.rule == "params"
    assert again.best.sequential == found.best.sequential
    assert "Keep the layout" in texts.layouts(again)
    assert to_json(recommend(crowd, followed)) == to_json(again)


def test_equal_priors_need_no_bands():
    found = recommend(people([(f"s{i}", 0.1) for i in range(50)]), Settings())
    assert found.best.rule == "uniform"
    assert to_json(found)["recommended"]["band_shards"] == []
    assert "band_shards: []" in texts.layouts(found)


def test_a_recommendation_needs_shards_and_one_prior_a_subject():
    with pytest.raises(InputError, match=r"set partition\.method to sisa"):
        recommend(people([("ann", 0.1)]), parse_settings({"partition": {"method": "monolith"}}))
    rows = [("ann", 0.1), ("ann", 0.2), ("bob", None), ("eve", 0.3)]
    with pytest.raises(InputError, match=r"2 of 3 subject\(s\)") as caught:
        recommend(people(rows), Settings())
    assert "ann" not in str(caught.value)
