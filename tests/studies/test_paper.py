"""The published speed-ups of SISA, by their own recipe and by the exact joint count."""

import numpy as np
import pytest

from forgetflow.partition.forecast import slicing_batch
from forgetflow.studies.paper import hits_per_shard, paper_rows, slicing_share

ROWS = {(row["data_set"], row["requests_as_printed"]): row for row in paper_rows()}


def test_the_papers_recipe_gives_the_papers_figures() -> None:
    assert ROWS["Purchase", "no"]["recipe_one"] == pytest.approx(4.63, abs=0.005)
    assert ROWS["SVHN", "yes"]["recipe_one"] == pytest.approx(2.45, abs=0.005)
    assert ROWS["ImageNet", "no"]["recipe_hits"] == pytest.approx(1.36, abs=0.005)
    assert ROWS["Mini-ImageNet", "no"]["recipe_hits"] == pytest.approx(8.01, abs=0.005)


def test_the_counts_of_its_figure_12() -> None:
    assert round(ROWS["Purchase", "no"]["sharding_points"]) == 79_829
    assert round(ROWS["SVHN", "no"]["sharding_points"]) == 366_347
    assert ROWS["Purchase", "yes"]["full_points"] == 249_992
    assert ROWS["SVHN", "yes"]["full_points"] == 604_815


@pytest.mark.parametrize(
    ("name", "joint"),
    [("Purchase", 4.231), ("SVHN", 2.237), ("ImageNet", 1.421), ("Mini-ImageNet", 7.862)],
)
def test_the_exact_joint_count_is_another_figure(name: str, joint: float) -> None:
    assert ROWS[name, "yes"]["joint"] == pytest.approx(joint, abs=0.0005)


def test_the_joint_count_agrees_with_simulation() -> None:
    row, rng = ROWS["Purchase", "yes"], np.random.default_rng(0)
    shards, slices, total = row["shards"], row["slices"], row["records"]
    earliest = np.full((20_000, shards), slices)
    for _ in range(int(row["requests"])):
        shard = rng.integers(shards, size=len(earliest))
        place = np.arange(len(earliest)), shard
        earliest[place] = np.minimum(earliest[place], rng.integers(slices, size=len(earliest)))
    everything = slices * (slices + 1) / 2
    share = (everything - earliest * (earliest + 1) / 2) / everything
    costs = total / shards * np.where(earliest < slices, share, 0).sum(axis=1) - row["requests"]
    spread = costs.std(ddof=1) / np.sqrt(len(costs))
    assert abs(costs.mean() - row["joint_points"]) <= 3 * spread


@pytest.mark.parametrize(
    ("requests", "share"), [(1, 0.6765), (2, 0.8367), (5, 0.9520), (10, 0.9840), (20, 0.9950)]
)
def test_appendix_h(requests: int, share: float) -> None:
    assert slicing_share(50, requests) == pytest.approx(share, abs=5e-5)
    exact = slicing_batch(1000, 50, requests) / 1000
    assert slicing_share(50, requests) == pytest.approx(exact, abs=0.005)


def test_one_request_hits_one_shard_once() -> None:
    assert hits_per_shard(20, 1) == pytest.approx(1)
