"""KLoM against closed forms, a slow reference, and SciPy."""

from math import log

import numpy as np
import pytest
from scipy import stats

from forgetflow.audit.intervals import jackknife_pools
from forgetflow.audit.klom import (
    BIN_EDGES,
    MIN_DEVIATION,
    Klom,
    easydub_klom,
    gaussian_kl,
    histogram,
    klom,
    ks,
)

CAP = log(1e5)


def draws(seed: int, members: int, records: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(members, records))


def binary(margins: np.ndarray) -> np.ndarray:
    """Return probabilities (M, N, 2) with these margins for class 0."""
    own = 1 / (1 + np.exp(-margins))
    return np.stack([own, 1 - own], axis=2)


def reference(p: list[float], q: list[float], right_edge: bool) -> float:
    """One record's KLoM, straight from the definition."""
    low, high = min(p + q), max(p + q)
    edges = [low + (high - low) * i / 20 for i in range(21)]

    def shares(values: list[float]) -> list[float]:
        counts = [0] * 20
        for value in values:
            if value >= high and not right_edge:
                continue
            counts[max(i for i in range(20) if value >= edges[i])] += 1
        return [count / sum(counts) for count in counts]

    pairs = zip(shares(p), shares(q), strict=True)
    return sum(a * log(a / max(b, 1e-5)) for a, b in pairs if a > 0)


@pytest.mark.parametrize(("function", "right_edge"), [(klom, True), (easydub_klom, False)])
def test_the_definition_record_by_record(function, right_edge: bool) -> None:
    p, q = draws(0, 30, 200) + 0.5, draws(1, 45, 200) * 1.5
    slow = [reference(list(p[:, i]), list(q[:, i]), right_edge) for i in range(200)]
    np.testing.assert_allclose(function(p, q), slow, rtol=1e-12)


def test_identical_and_constant_margins() -> None:
    same = draws(0, 20, 50)
    assert not klom(same, same[::-1]).any()
    assert not klom(np.full((3, 2), 1.5), np.full((4, 2), 1.5)).any()


def test_disjoint_margins_reach_the_cap_and_no_more() -> None:
    far = klom(draws(0, 100, 200) + 90, draws(1, 100, 200) - 90)
    assert far.min() > 11.3
    assert far.max() <= CAP + 1e-12
    assert klom(np.full((5, 1), 2.0), np.full((5, 1), 1.0))[0] == pytest.approx(CAP)


def test_direction_is_contender_to_oracle() -> None:
    # Half of p where q has all: ln(1/2)/2 plus half in an empty bin; the other way only ln 2.
    p, q = np.array([[0.0], [1.0]]), np.array([[0.0], [0.0]])
    assert klom(p, q)[0] == pytest.approx((log(0.5) + log(0.5 / 1e-5)) / 2)
    assert klom(q, p)[0] == pytest.approx(log(2))


def test_seed_noise_of_a_hundred_members() -> None:
    noise = klom(draws(2, 100, 1000), draws(3, 100, 1000))
    # Measured elsewhere over other 1,000 draws; about four standard errors.
    assert noise.mean() == pytest.approx(0.352, abs=0.02)
    assert np.percentile(noise, 95) == pytest.approx(0.676, abs=0.05)
    assert klom(draws(2, 20, 1000), draws(3, 20, 1000)).mean() > 5 * noise.mean()


def test_affine_invariance_within_the_clip() -> None:
    p, q = draws(4, 60, 100), draws(5, 60, 100) + 1
    np.testing.assert_allclose(klom(7 * p - 3, 7 * q - 3), klom(p, q), rtol=1e-12)
    assert not klom(p + 200, q + 200).any()  # all at +100


def test_easydub_drops_the_largest_margin() -> None:
    p, q = np.array([[0.0], [0.0], [1.0]]), np.array([[0.0], [0.0], [0.0]])
    assert easydub_klom(p, q)[0] == 0.0  # the only difference lies on the right edge
    assert klom(p, q)[0] > 3
    assert easydub_klom(np.array([[1.0]]), q)[0] == 0.0  # a side without any margin left


def test_gaussian_kl_closed_forms() -> None:
    unit = np.array([[-1.0], [1.0]]) / np.sqrt(2)  # mean 0, unbiased variance 1
    assert gaussian_kl(unit, unit)[0] == 0
    assert gaussian_kl(unit + 3, unit)[0] == pytest.approx(4.5)
    assert gaussian_kl(2 * unit, unit)[0] == pytest.approx(-log(2) + 1.5)
    assert gaussian_kl(unit, 2 * unit)[0] == pytest.approx(log(2) - 0.375)
    flat = np.zeros((2, 1))
    assert gaussian_kl(flat + MIN_DEVIATION, flat)[0] == pytest.approx(0.5)


def test_gaussian_kl_is_the_integral() -> None:
    p, q = draws(6, 50, 1) * 1.4 + 1, draws(7, 40, 1)
    laws = [stats.norm(side.mean(), side.std(ddof=1)) for side in (p, q)]
    grid = np.linspace(-15, 15, 200_001)
    integrand = laws[0].pdf(grid) * (laws[0].logpdf(grid) - laws[1].logpdf(grid))
    assert gaussian_kl(p, q)[0] == pytest.approx(np.trapezoid(integrand, grid), rel=1e-9)


@pytest.mark.parametrize("decimals", [9, 0])  # with 0, ties within and across both sides
def test_ks_is_scipys(decimals: int) -> None:
    p, q = np.round(draws(8, 20, 40), decimals), np.round(draws(9, 33, 40) + 0.4, decimals)
    expected = [stats.ks_2samp(p[:, i], q[:, i]).statistic for i in range(40)]
    np.testing.assert_allclose(ks(p, q), expected, rtol=1e-12)


def test_pools_of_different_size_lose_members_on_both_sides() -> None:
    seen = []
    jackknife_pools(lambda mine, theirs: seen.append((set(mine), set(theirs))) or 0.0, (3, 12))
    assert seen[0] == (set(range(3)), set(range(12)))
    assert seen[1] == ({1, 2}, set(range(12)) - {0, 10})
    assert seen[6] == ({0, 1, 2}, set(range(12)) - {5})
    assert jackknife_pools(lambda mine, theirs: float(len(mine)), (2, 9)) == (2.0, None, None)


def test_estimates(make_context) -> None:
    pools = {name: binary(draws(i, 6, 18)) for i, name in enumerate(("oracle", "second_oracle"))}
    pools["original"] = binary(draws(2, 4, 18) + np.repeat([0, 5, 0], 6))
    sizes = ([0] * 6, [0] * 6, [0] * 6)
    estimates = Klom().estimates(make_context(*sizes, **pools))
    assert {f.contender for f in estimates} == {"second oracle", "original"}
    found = {(f.contender, f.set, f.statistic): f for f in estimates}
    assert len(found) == len(estimates) == 2 * 3 * 4
    expected = klom(draws(2, 4, 18)[:, 6:12] + 5, draws(0, 6, 18)[:, 6:12])
    kept = found["original", "forget", "mean"]
    assert kept.value == pytest.approx(expected.mean())
    assert kept.low < kept.value < kept.high
    assert "4 members" in kept.reason
    assert found["original", "forget", "ks_p95"].value == 1.0
    assert found["original", "retain", "gaussian_p95"].value < 10
    assert "easydub_p95" not in {f.statistic for f in estimates}
    more = Klom().estimates(make_context(*sizes, settings={"easydub": True}, **pools))
    assert len(more) == len(estimates) + 2 * 3


def test_what_cannot_be_said_is_not(make_context) -> None:
    pools = {"oracle": binary(draws(0, 1, 14)), "second_oracle": binary(draws(1, 1, 14))}
    context = make_context([0] * 5, [0] * 4, [0] * 5, **pools)
    found = {(f.set, f.statistic): f for f in Klom().estimates(context)}
    assert found["forget", "p95"].value is None
    assert "withheld" in found["forget", "p95"].reason
    assert "two members" in found["retain", "gaussian_p95"].reason
    assert (found["retain", "ks_p95"].value, found["retain", "ks_p95"].low) == (1.0, None)
    assert Klom().tables(context) == {"margins.csv": []}


def test_table_of_margins(make_context) -> None:
    oracle = np.array([[-0.5, 3.0, 3.0, 3.2, 40.0]])
    pools = {"oracle": binary(np.tile(oracle, (2, 3))), "second_oracle": binary(np.ones((2, 15)))}
    rows = Klom().tables(make_context([0] * 5, [0] * 5, [0] * 5, **pools))["margins.csv"]
    assert len(rows) == 2 * (len(BIN_EDGES) - 1)
    mine = {r["bin_low"]: r["share"] for r in rows if r["contender"] == "oracle" and r["share"]}
    assert mine[-1.0] == pytest.approx(0.2)
    assert mine[25.0] == pytest.approx(0.2)
    assert sum(mine.values()) == pytest.approx(1)
    assert histogram(np.array([[1e9, -1e9]])).sum() == 1
