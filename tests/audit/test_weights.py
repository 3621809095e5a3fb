"""Distances of weights against numpy."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from forgetflow.audit.context import FLOOR, AuditContext
from forgetflow.audit.protocol import Estimate
from forgetflow.audit.weights import MEMBERS, Weights, relative_distance

MakeContext = Callable[..., AuditContext]


def drawn(seed: int, members: int = 3, records: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(2), (members, records))


def made(make_context: MakeContext, **pools: np.ndarray) -> AuditContext:
    return make_context([0] * 2, [1] * 2, [0, 1], **pools)


def found(context: AuditContext) -> dict[str, Estimate]:
    return {one.contender: one for one in Weights().estimates(context)}


def test_distance_is_the_norm_of_the_difference(make_context: MakeContext) -> None:
    oracle, floor, other = drawn(0), drawn(1), drawn(2, members=5)
    estimates = found(made(make_context, oracle=oracle, second_oracle=floor, other=other))
    for name, tables in ((FLOOR, floor), ("other", other[:3])):
        pairs = zip(np.log(tables), np.log(oracle), strict=True)
        expected = [np.linalg.norm(one - two) / np.linalg.norm(two) for one, two in pairs]
        assert estimates[name].value == pytest.approx(np.mean(expected), rel=1e-5)
        low, high = estimates[name].low, estimates[name].high
        assert low is not None
        assert high is not None
        assert low < min(expected) + np.std(expected)
        assert high > np.mean(expected)
    assert "oracle" not in estimates


def test_the_same_weights_are_at_distance_zero(make_context: MakeContext) -> None:
    estimates = found(made(make_context, oracle=drawn(0), second_oracle=drawn(0)))
    assert (estimates[FLOOR].value, estimates[FLOOR].set) == (0, "all")


def test_parameters_are_compared_by_name() -> None:
    one, two = torch.arange(3.0), torch.tensor([[4.0]])
    assert relative_distance({"a": one, "b": two}, {"b": two, "a": one}) == 0
    # Unrelated directions of equal norm: sqrt(2), as between retrained models.
    east, north = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 3.0])
    assert relative_distance({"a": east}, {"a": north}) == pytest.approx(2**0.5)
    assert relative_distance({"a": east}, {"b": east}) is None


def test_an_emptied_shard_gives_a_reason_and_no_estimate(make_context: MakeContext) -> None:
    context = made(make_context, oracle=drawn(0), second_oracle=drawn(1), other=drawn(2))
    smaller = made(make_context, oracle=drawn(2), second_oracle=drawn(2), other=drawn(2)[:, :5])
    contenders = {**context.contenders, "other": smaller.contenders["other"]}
    estimates = found(replace(context, contenders=contenders))
    assert estimates["other"].value is None
    assert estimates["other"].reason.startswith("3 of 3 pairs")
    assert estimates[FLOOR].value is not None


def test_at_most_sixteen_members_are_loaded(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = drawn(0, members=MEMBERS + 4)
    context = made(make_context, oracle=many, second_oracle=many[::-1])
    loaded: list[int] = []
    pool = type(context.contenders[FLOOR])
    network = pool.network
    monkeypatch.setattr(
        pool, "network", lambda self, member: (loaded.append(member), network(self, member))[1]
    )
    Weights().estimates(context)
    assert sorted(loaded) == sorted([*range(16), *range(16)])
