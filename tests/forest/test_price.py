"""The price of a deletion is what the deletion then takes, and asking changes nothing."""

import numpy as np
import pytest

from forgetflow.errors import InputError


def test_price_is_what_deletion_takes(make_records, settings, assert_slots_sound):
    records = make_records(300, seed=1, **settings)
    order = np.random.default_rng(0).permutation(len(records))
    forest, untouched = records.fit(), records.fit()
    ends = np.cumsum([1] * 30 + [2, 7, 40])
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        asked = records.digests[order[start:end]]
        price = forest.price(asked)
        assert forest.digest() == untouched.digest()
        assert_slots_sound(forest)
        assert price == forest.delete(asked)
        untouched.delete(asked)
    assert forest.digest() == records.fit(order[ends[-1] :]).digest()


@pytest.mark.parametrize("classes", [2, 10])
def test_large_nodes_keep_their_counts_when_asked(make_records, assert_slots_sound, classes):
    records = make_records(3000, classes=classes, seed=4, trees=3)
    forest, other = records.fit(), records.fit()
    order = np.random.default_rng(1).permutation(len(records))
    prices = [forest.price(records.digests[[row]]) for row in order[:200]]
    assert len({price.rows_regrown for price in prices}) > 20
    assert_slots_sound(forest)
    # The very same counts, not only the same answers: later deletions rest on them.
    for row, price in zip(order[:50], prices[:50], strict=True):
        assert other.delete(records.digests[[row]]) == price
        other.add(*records.part([row]))
    forest.delete(records.digests[order[:400]])
    assert forest.digest() == records.fit(order[400:]).digest()


def test_the_price_of_everything_is_at_most_a_refit(make_records):
    records = make_records(120, share=0.5, trees=4)
    forest = records.fit()
    state = forest.state()
    roots = np.concatenate([[0], state["nodes_end"][:-1]])
    assert forest.rows == state["counts"][roots].sum() < 4 * 120
    assert forest.price(records.digests).rows_regrown == 0, "nothing is left to grow"
    assert 0 < forest.price(records.digests[:60]).rows_regrown < forest.rows


def test_absent_records_have_no_price(make_records):
    records = make_records(60)
    forest = records.fit(slice(0, 50))
    forest.delete(records.digests[:1])
    for row in (0, 55):
        with pytest.raises(InputError, match="not in the forest"):
            forest.price(records.digests[[row]])
