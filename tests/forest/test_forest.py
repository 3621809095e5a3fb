"""Deletion and addition arrive at the bytes of the forest that was fit on what is left."""

import numpy as np
import pytest

from forgetflow.errors import InputError
from forgetflow.forest import Forest, ForestSettings, Grid
from forgetflow.forest.layout import FEATURE, SLOT


def same(one: Forest, other: Forest) -> bool:
    a, b = one.state(), other.state()
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype
        and a[name].shape == b[name].shape
        and a[name].tobytes() == b[name].tobytes()
        for name in a
    )


class TestEveryVariant:
    def test_single_deletions_in_several_orders(self, make_records, settings):
        records = make_records(300, **settings)
        for order_seed in range(3):
            order = np.random.default_rng(order_seed).permutation(len(records))[:40]
            forest = records.fit()
            for done, row in enumerate(order, start=1):
                forest.delete(records.digests[[row]])
                if done % 10 == 0:
                    rest = np.setdiff1d(np.arange(len(records)), order[:done])
                    assert same(forest, records.fit(rest))

    def test_batch_equals_one_by_one_equals_fit(self, make_records, settings):
        records = make_records(300, seed=1, **settings)
        order = np.random.default_rng(0).permutation(len(records))
        batch, single = records.fit(), records.fit()
        batch.delete(records.digests[order[:60]])
        for row in order[:60]:
            single.delete(records.digests[[row]])
        assert same(batch, single)
        assert same(batch, records.fit(order[60:]))

    def test_random_history_of_deletions_and_additions(
        self, make_records, settings, assert_slots_sound
    ):
        records = make_records(250, seed=2, **settings)
        draw = np.random.default_rng(5)
        held = draw.random(len(records)) < 0.6
        forest = records.fit(held)
        for _ in range(25):
            size = int(draw.choice([1, 2, 9, 30]))
            if held.sum() > 60 and draw.random() < 0.5:
                rows = draw.permutation(np.flatnonzero(held))[:size]
                forest.delete(records.digests[rows])
                held[rows] = False
            else:
                rows = draw.permutation(np.flatnonzero(~held))[:size]
                forest.add(*records.part(rows))
                held[rows] = True
            assert same(forest, records.fit(held))
            assert_slots_sound(forest)

    def test_delete_down_to_nothing_and_build_up_again(self, make_records, settings):
        records = make_records(40, seed=3, **settings)
        forest = records.fit()
        order = np.argsort(records.labels, kind="stable")  # class after class disappears
        for done in range(1, len(records) + 1):
            forest.delete(records.digests[order[[done - 1]]])
            assert same(forest, records.fit(order[done:]))
        assert len(forest) == 0
        assert np.allclose(forest.predict_proba(records.features[:2]), 1 / records.classes)
        for row in order:
            forest.add(*records.part([row]))
        assert same(forest, records.fit())


@pytest.mark.parametrize("classes", [2, 10])
def test_large_nodes_keep_their_counts_right(make_records, assert_slots_sound, classes):
    records = make_records(3000, classes=classes, seed=4, trees=3)
    order = np.random.default_rng(1).permutation(len(records))
    forest = records.fit()
    for row in order[:150]:
        forest.delete(records.digests[[row]])
    forest.delete(records.digests[order[150:400]])
    assert_slots_sound(forest)
    assert same(forest, records.fit(order[400:]))
    forest.add(*records.part(order[300:400]))
    for row in order[200:300]:
        forest.add(*records.part([row]))
    assert_slots_sound(forest)
    assert same(forest, records.fit(order[200:]))


def test_a_feature_that_begins_to_vary_is_tried(make_records):
    records = make_records(301, seed=9, trees=20)
    features = records.features.copy()
    features[:300, 2:] = 0.0
    features[300] = -1.0
    common = {"grid": records.grid, "classes": 3, "settings": records.settings}
    forest = Forest.fit(*part(records, features, slice(0, 300)), **common)
    forest.add(*part(records, features, [300]))
    assert same(forest, Forest.fit(*part(records, features, slice(None)), **common))
    forest.delete(records.digests[[300]])
    assert same(forest, Forest.fit(*part(records, features, slice(0, 300)), **common))


def part(records, features, rows):
    return records.digests[rows], features[rows], records.labels[rows]


def test_a_forest_that_grows_from_nothing_keeps_counts(make_records, assert_slots_sound):
    records = make_records(900, seed=10)
    forest = records.fit(slice(0, 0))
    for start in range(0, 900, 50):
        forest.add(*records.part(slice(start, start + 50)))
        assert_slots_sound(forest)
    assert (forest._trees[0].nodes[0, [FEATURE, SLOT]] >= 0).all()
    assert same(forest, records.fit())


def test_adding_back_restores_the_bytes(make_records):
    records = make_records(400, seed=6)
    forest = records.fit()
    before = forest.digest()
    for row in range(0, 400, 20):
        forest.delete(records.digests[[row]])
        assert forest.digest() != before
        forest.add(*records.part([row]))
        assert forest.digest() == before


def test_all_features_constant_and_all_labels_equal(make_records):
    records = make_records(120)
    flat = np.full_like(records.features, 3.0)
    common = {"grid": records.grid, "classes": 3, "settings": records.settings}
    for features, labels in (
        (flat, records.labels),
        (records.features, np.zeros(120, np.int64)),
        (np.full_like(flat, np.nan), records.labels),
    ):
        forest = Forest.fit(records.digests, features, labels, **common)
        forest.delete(records.digests[:7])
        rest = Forest.fit(records.digests[7:], features[7:], labels[7:], **common)
        assert same(forest, rest)
        assert len(forest.state()["feature"]) == 2  # two trees, a leaf each


def test_order_of_rows_and_threads_do_not_matter(make_records):
    records = make_records(500, seed=7, trees=5)
    forest = records.fit()
    shuffled = np.random.default_rng(0).permutation(500)
    threaded = records.fit(shuffled, threads=3)
    assert same(forest, threaded)
    forest.delete(records.digests[:50])
    threaded.delete(records.digests[:50][::-1])
    assert same(forest, threaded)
    probabilities = forest.predict_proba(records.features)
    assert probabilities.tobytes() == threaded.predict_proba(records.features).tobytes()


def test_a_tree_does_not_depend_on_how_many_there_are(make_records):
    few, many = make_records(200, trees=2).fit(), make_records(200, trees=4).fit()
    ends = few.state()["nodes_end"]
    assert (many.state()["nodes_end"][:2] == ends).all()
    assert (many.state()["counts"][: ends[-1]] == few.state()["counts"]).all()


def test_seed_and_digests_matter_only_where_they_should(make_records):
    records = make_records(200)
    other_seed = records.settings.model_copy(update={"seed": 9})
    common = {"grid": records.grid, "classes": 3}
    assert (
        Forest.fit(*records.part(slice(None)), **common, settings=other_seed).digest()
        != records.fit().digest()
    )
    renamed = Forest.fit(
        records.digests[::-1], records.features, records.labels, **common, settings=records.settings
    )
    assert (renamed.state()["counts"] == records.fit().state()["counts"]).all()


def test_shares_differ_between_trees_and_come_near_what_was_asked(make_records):
    records = make_records(2000, share=0.3, trees=4)
    state = records.fit().state()
    roots = np.concatenate([[0], state["nodes_end"][:-1]])
    sizes = state["counts"][roots].sum(axis=1)
    assert len(set(sizes.tolist())) > 1
    assert (abs(sizes / 2000 - 0.3) < 0.05).all()


def test_cost_is_reported(make_records):
    records = make_records(400, seed=8)
    forest = records.fit()
    change = forest.delete(records.digests[:30])
    assert change.records == 30
    assert 0 < change.subtrees_regrown <= change.rows_regrown


class TestRefusals:
    @pytest.fixture
    def records(self, make_records):
        return make_records(60)

    def test_absent_deleted_or_repeated_records_change_nothing(self, records):
        forest = records.fit(slice(0, 50))
        forest.delete(records.digests[:5])
        before = forest.digest()
        for digests, words in (
            (records.digests[[10, 55]], "not in the forest"),
            (records.digests[[10, 3]], "deleted already"),
            (records.digests[[10, 10]], "listed twice"),
            (records.digests[:, :16], "32 bytes each"),
        ):
            with pytest.raises(InputError, match=words):
                forest.delete(digests)
        with pytest.raises(InputError, match="in the forest already"):
            forest.add(*records.part([55, 10]))
        assert forest.digest() == before
        assert same(forest, records.fit(slice(5, 50)))

    @pytest.mark.parametrize(
        ("labels", "words"),
        [
            (np.linspace(0, 1, 60), "does not do regression"),
            (np.array(["a"] * 60), "not integers"),
            (np.full(60, 3), "number them 0 to 2"),
            (np.full(60, -1), "number them 0 to 2"),
            (np.zeros((60, 2), int), "one class number for each"),
            (np.zeros(59, int), "one class number for each"),
        ],
    )
    def test_labels(self, records, labels, words):
        with pytest.raises(InputError, match=words):
            Forest.fit(records.digests, records.features, labels, grid=records.grid, classes=3)

    @pytest.mark.parametrize(
        ("features", "words"),
        [
            (np.full((60, 6), "x"), "must be numbers"),
            (np.zeros((60, 5)), "the grid has 6"),
            (np.zeros(60), "the grid has 6"),
            (np.zeros((59, 6)), "one per record"),
        ],
    )
    def test_features(self, records, features, words):
        with pytest.raises(InputError, match=words):
            Forest.fit(records.digests, features, records.labels, grid=records.grid, classes=3)

    def test_a_bad_addition_changes_nothing(self, records):
        forest = records.fit(slice(0, 50))
        with pytest.raises(InputError):
            forest.add(records.digests[50:], records.features[50:], np.full(10, 8))
        assert same(forest, records.fit(slice(0, 50)))
        forest.add(*records.part(slice(50, 60)))
        assert same(forest, records.fit())

    def test_classes_and_settings(self):
        with pytest.raises(InputError, match="a classifier needs"):
            Forest(grid=Grid.uniform([0], [1], 3), classes=1, settings=ForestSettings())
        with pytest.raises(ValueError, match="greater than or equal to 1"):
            ForestSettings(trees=0)


def test_a_deleted_record_leaves_no_values_behind(make_records):
    records = make_records(50)
    forest = records.fit()
    place = forest._rows.find(records.digests[[7]])[0]
    forest.delete(records.digests[[7]])
    assert not forest._rows.table.codes[:, place].any()
    assert not forest._rows._digests[place].any()
