"""The cost formulas against published numbers, brute force and Monte Carlo."""

from collections.abc import Callable
from math import comb, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from forgetflow.errors import InputError
from forgetflow.partition import forecast
from forgetflow.partition.assignment import Assignment

PURCHASE, SVHN = 250_000, 604_833


def within_three_sigma(samples: NDArray[np.float64], expected: float) -> bool:
    return abs(samples.mean() - expected) <= 3 * samples.std(ddof=1) / sqrt(len(samples))


def draw(seed: int, runs: int, one: Callable[[np.random.Generator], float]) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return np.array([one(rng) for _ in range(runs)])


def test_sequential_sharding_is_the_published_figure() -> None:
    assert forecast.sharding_sequential(10_000, 10, 20) == pytest.approx(19_961.0)


def test_sequential_sharding_agrees_with_simulation() -> None:
    def one(rng: np.random.Generator) -> float:
        left = np.full(10, 1000)
        cost = 0
        for shard in rng.permutation(10_000)[:20] % 10:
            left[shard] -= 1
            cost += left[shard]
        return cost

    samples = draw(1, 2000, one)
    assert within_three_sigma(samples, forecast.sharding_sequential(10_000, 10, 20))


@pytest.mark.parametrize(
    ("records", "requests", "count", "without_shards"),
    [(PURCHASE, 7.5, 79_829, 249_992), (SVHN, 18.145, 366_347, 604_815)],
)
def test_batch_sharding_gives_the_papers_counts(
    records: int, requests: float, count: int, without_shards: int
) -> None:
    assert round(forecast.sharding_batch(records, 20, requests)) == count
    assert int(forecast.full_retraining(records, int(requests + 0.5))) == without_shards


@pytest.mark.parametrize(
    ("shards", "speed_ups"),
    [
        (5, [5.00, 2.78, 1.49, 1.20, 1.01, 1.00, 1.00, 1.00]),
        (10, [10.0, 5.26, 2.44, 1.76, 1.14, 1.02, 1.00, 1.00]),
        (20, [20.0, 10.3, 4.42, 2.97, 1.56, 1.15, 1.05, 1.01]),
    ],
)
def test_speed_up_of_sharding_alone(shards: int, speed_ups: list[float]) -> None:
    for requests, expected in zip((1, 2, 5, 8, 20, 40, 60, 100), speed_ups, strict=True):
        full = forecast.full_retraining(PURCHASE, requests)
        ratio = full / forecast.sharding_batch(PURCHASE, shards, requests)
        assert ratio == pytest.approx(expected, rel=0.005)


def test_batch_sharding_agrees_with_simulation() -> None:
    def one(rng: np.random.Generator) -> float:
        hits = np.bincount(rng.integers(10, size=12), minlength=10)
        return (200 - hits)[hits > 0].sum()

    assert within_three_sigma(draw(2, 2000, one), forecast.sharding_batch(2000, 10, 12))


def test_batch_sharding_tends_to_an_exponential_with_a_minus_sign() -> None:
    tau = -1 / np.log(1 - 1 / 20)
    expected = 1e6 * (1 - np.exp(-30 / tau)) - 30
    assert forecast.sharding_batch(1_000_000, 20, 30) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("requests", "share"), [(1, 0.6733), (2, 0.8367), (5, 0.9534), (10, 0.9852), (20, 0.9958)]
)
def test_batch_slicing_with_exact_moments(requests: int, share: float) -> None:
    assert forecast.slicing_batch(1000, 50, requests) / 1000 == pytest.approx(share, abs=5e-5)


def test_batch_slicing_agrees_with_simulation() -> None:
    def one(rng: np.random.Generator) -> float:
        return forecast.slicing_restart(300, 8, int(rng.integers(8, size=3).min()), 4.0)

    assert within_three_sigma(draw(3, 2000, one), forecast.slicing_batch(300, 8, 3, 4.0))


@pytest.mark.parametrize("slices", [1, 2, 7, 50])
def test_one_request_costs_the_mean_restart(slices: int) -> None:
    mean = np.mean([forecast.slicing_restart(1000, slices, r, 3.0) for r in range(slices)])
    assert forecast.slicing_sequential(1000, slices, 3.0) == pytest.approx(mean)
    assert forecast.slicing_batch(1000, slices, 1, 3.0) == pytest.approx(mean)


def test_slicing_alone_saves_at_most_a_third() -> None:
    assert 1 / forecast.slicing_sequential(1, 50) == pytest.approx(1.4851, abs=5e-5)
    assert forecast.slicing_sequential(1, 10**9) == pytest.approx(2 / 3)


def test_restart_is_the_printed_equation() -> None:
    slices, records, epochs = 5, 400, 10.0
    for r in range(1, slices + 1):
        printed = (2 * epochs * records / (slices * (slices + 1))) * (
            slices * (slices + 1) / 2 - r * (r - 1) / 2
        )
        assert forecast.slicing_restart(records, slices, r - 1, epochs) == pytest.approx(printed)
    assert forecast.slicing_restart(records, slices, 0, epochs) == pytest.approx(epochs * records)


@pytest.mark.parametrize(
    ("records", "requests", "speed_up"),
    [(PURCHASE, 8, 4.231), (SVHN, 18, 2.237), (1_281_167, 39, 1.421), (128_545, 4, 7.86)],
)
def test_joint_speed_ups(records: int, requests: int, speed_up: float) -> None:
    full = forecast.full_retraining(records, requests)
    ratio = full / forecast.joint_batch(records, 20, 50, requests)
    assert ratio == pytest.approx(speed_up, rel=0.001)


@pytest.mark.parametrize(("shards", "slices", "requests"), [(1, 1, 1), (4, 3, 5), (20, 50, 8)])
def test_joint_is_the_binomial_sum(shards: int, slices: int, requests: int) -> None:
    expected = sum(
        comb(requests, k)
        * (1 / shards) ** k
        * (1 - 1 / shards) ** (requests - k)
        * forecast.slicing_batch(1000, slices, k, 2.0)
        for k in range(1, requests + 1)
    )
    assert forecast.joint_batch(1000, shards, slices, requests, 2.0) == pytest.approx(expected)


def test_joint_agrees_with_simulation() -> None:
    def one(rng: np.random.Generator) -> float:
        shard, part = rng.integers(20, size=8), rng.integers(50, size=8)
        return sum(
            forecast.slicing_restart(500, 50, int(part[shard == s].min())) for s in np.unique(shard)
        )

    assert within_three_sigma(draw(4, 1000, one), forecast.joint_batch(10_000, 20, 50, 8))


def test_the_lone_shard_baselines() -> None:
    records, shards, requests = 10_000, 10, 20
    expected = (1 / shards) * (records / shards + 1 / (2 * shards) - 1) * requests - (
        requests**2
    ) / (2 * shards**2)
    assert forecast.lone_shard_sequential(records, shards, requests) == pytest.approx(expected)
    assert forecast.lone_shard_batch(records, shards, requests) == pytest.approx(998.0)


@pytest.mark.parametrize("restart_slice", range(6))
def test_restart_samples_is_equation_11_for_equal_slices(restart_slice: int) -> None:
    expected = forecast.slicing_restart(240, 6, restart_slice, 7.5)
    assert forecast.restart_samples([40] * 6, 7.5, restart_slice) == pytest.approx(expected)


def test_restart_samples_counts_unequal_and_empty_slices() -> None:
    # Three slices at 2 * 6 / 4 = 3 epochs each, over 10, 10 and 14 records.
    assert forecast.restart_samples([10, 0, 4], 6.0, 0) == pytest.approx(3 * 34)
    assert forecast.restart_samples([10, 0, 4], 6.0, 1) == pytest.approx(3 * 24)
    assert forecast.restart_samples([0, 0, 0], 6.0, 0) == 0.0


def test_restart_slices_finds_the_earliest_slice_of_every_hit_shard() -> None:
    shard = np.array([0, 0, 1, 1, 2, 2])
    part = np.array([2, 1, 0, 3, 3, 2])
    forget = np.array([True, True, False, True, False, False])
    assert forecast.restart_slices(Assignment(3, 4, shard, part), forget) == {0: 1, 1: 3}
    assert forecast.restart_slices(Assignment(3, 4, shard, part), forget & False) == {}


@pytest.mark.parametrize(
    "call",
    [
        lambda: forecast.sharding_batch(100, 0, 1),
        lambda: forecast.sharding_sequential(100, 5, 101),
        lambda: forecast.slicing_restart(100, 4, 4),
        lambda: forecast.restart_samples([], 1.0, 0),
        lambda: forecast.joint_batch(100, 5, 5, -1),
    ],
)
def test_impossible_counts_are_refused(call: Callable[[], float]) -> None:
    with pytest.raises(InputError, match="must be"):
        call()


def test_no_request_costs_nothing() -> None:
    assert forecast.sharding_batch(100, 5, 0) == 0
    assert forecast.slicing_batch(100, 5, 0) == 0
    assert forecast.joint_batch(100, 5, 4, 0) == pytest.approx(0)
