"""Records as methods hold them: sets, whatever the order they come in."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forgetflow.keys.digests import canonical_order, set_digest
from forgetflow.training.chain import Samples
from forgetflow.unlearning.records import Records

CPU = torch.device("cpu")


def samples(count, seed=0, labels=True):
    rng = np.random.default_rng(seed)
    return Samples(
        rng.normal(size=(count, 2)).astype(np.float32),
        rng.integers(3, size=count) if labels else None,
        rng.integers(256, size=(count, 32), dtype=np.uint8),
    )


def part_of(whole, where):
    labels = None if whole.labels is None else whole.labels[where]
    return Samples(whole.inputs[where], labels, whole.digests[where])


def same(one, other):
    tensors = (
        (one.inputs, other.inputs),
        (one.labels, other.labels),
        (one.forgotten, other.forgotten),
        *((one.targets[name], other.targets[name]) for name in one.targets),
    )
    return np.array_equal(one.digests, other.digests) and all(torch.equal(a, b) for a, b in tensors)


@given(st.permutations(range(9)), st.integers(0, 9))
def test_order_and_parts_do_not_matter(order, cut):
    whole = samples(9)
    parts = [part_of(whole, list(order)[:cut]), part_of(whole, list(order)[cut:])]
    found = Records.of(parts, CPU, forgotten=False)
    assert same(found, Records.of([whole], CPU, forgotten=False))
    assert found.digest == set_digest(whole.digests)
    place = canonical_order(whole.digests)
    assert np.array_equal(found.inputs.numpy(), whole.inputs[place])
    assert found.labels.tolist() == whole.labels[place].tolist()


@given(st.lists(st.booleans(), min_size=9, max_size=9))
def test_what_is_taken_apart_goes_together_again(kept):
    whole = Records.of([samples(9)], CPU, forgotten=False)
    whole = whole.with_targets(x=torch.arange(18.0).reshape(9, 2))
    mask = np.array(kept)
    one, other = whole[mask], whole[torch.from_numpy(~mask)]
    assert (len(one), len(other)) == (mask.sum(), (~mask).sum())
    assert same(one + other, whole)
    assert same(other + one, whole)


def test_joined_records_know_where_they_come_from():
    retain = Records.of([samples(5, 1)], CPU, forgotten=False)
    forget = Records.of([samples(3, 2)], CPU, forgotten=True)
    both = retain + forget
    assert same(both[both.forgotten], forget)
    assert same(both[~both.forgotten], retain)
    (batch,) = both.batches()
    assert torch.equal(batch.forgotten, both.forgotten)
    assert [len(one) for one in both.batches(3)] == [3, 3, 2]


def test_sets_that_do_not_fit_are_refused():
    one, other = (Records.of([samples(4, seed)], CPU, forgotten=False) for seed in (1, 2))
    with pytest.raises(ValueError, match="in both sets"):
        one + one[:2]
    with pytest.raises(ValueError, match="same targets"):
        one.with_targets(x=one.inputs) + other
    unlabelled = Records.of([samples(4, 3, labels=False)], CPU, forgotten=False)
    with pytest.raises(ValueError, match="labels, or neither"):
        one + unlabelled
    assert (unlabelled + unlabelled[:0]).labels is None


@pytest.mark.parametrize(("part", "count"), [(0, 0), (0.3, 3), (0.5, 5), (1, 10)])
def test_a_share_is_a_function_of_the_records(part, count):
    """Those with the smallest digests: removing others keeps whoever is in it."""
    whole = Records.of([samples(10)], CPU, forgotten=False)
    chosen, rest = whole.split(part)
    assert len(chosen) == count
    assert same(chosen, whole.share(part))
    assert same(chosen + rest, whole)
    if 0 < count < 10:
        assert max(d.tobytes() for d in chosen.digests) < min(d.tobytes() for d in rest.digests)


def test_through_is_the_network_on_every_record():
    whole = Records.of([samples(2500)], CPU, forgotten=False)
    network = torch.nn.Linear(2, 3)
    found = whole.through(network)
    assert not found.requires_grad
    assert torch.allclose(found, network(whole.inputs), atol=1e-6)
