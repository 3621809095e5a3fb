"""Relearn times of models whose time is known beforehand."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from forgetflow.audit.context import FLOOR, AuditContext
from forgetflow.audit.protocol import Estimate
from forgetflow.audit.relearn import Relearn, median, relearn_steps
from forgetflow.training.abilities import Ability

RATE = 0.01
SETTINGS = {"learning_rate": RATE, "batch_size": 64, "max_steps": 40, "members": 3}
MakeContext = Callable[..., AuditContext]


def behind(*steps: float) -> np.ndarray:
    """Members whose 10 forget records are `steps` of Adam away from being right; class 0 of 2.

    Adam moves both logits of a record by about its rate per step, so their difference by twice it.
    """
    tables = np.full((len(steps), 25, 2), 0.5)
    logits = np.array(steps) * 2 * RATE
    wrong = 1 / (1 + np.exp(-logits))
    tables[:, 10:20] = np.stack([1 - wrong, wrong], axis=1)[:, None]
    tables[:, :10] = 0.8, 0.2
    return tables


def made(make_context: MakeContext, **pools: np.ndarray) -> AuditContext:
    pools = {"original": behind(-9.0, -9.0), "second_oracle": behind(8.5), **pools}
    return make_context([0] * 10, [0] * 10, [0] * 5, settings={"relearn": SETTINGS}, **pools)


def found(context: AuditContext) -> dict[tuple[str, str], Estimate]:
    return {(one.contender, one.statistic): one for one in Relearn().estimates(context)}


def test_steps_are_those_that_the_models_are_behind(make_context: MakeContext) -> None:
    context = made(make_context, oracle=behind(9.5, 11.5, 19.5), ascent=behind(2.5, 5.5))
    assert relearn_steps(context, "oracle") == (10, 12, 20)
    estimates = found(context)
    assert estimates["oracle", "steps"].value == 12
    assert (estimates["oracle", "steps"].low, estimates["oracle", "steps"].high) == (10, 20)
    index = estimates["ascent", "anamnesis_index"]
    assert index.value == pytest.approx(4.5 / 12)
    assert (index.low, index.high) == pytest.approx((3 / 10, 6 / 12))
    assert estimates["ascent", "steps"].target == 12


def test_the_same_models_have_index_one_and_the_original_zero(make_context: MakeContext) -> None:
    tables = behind(9.5, 11.5, 19.5)
    estimates = found(made(make_context, oracle=tables, second_oracle=tables))
    twin = estimates[FLOOR, "anamnesis_index"]
    assert (twin.value, twin.low, twin.high) == (1.0, 1.0, 1.0)
    assert estimates["original", "anamnesis_index"].value == 0
    assert estimates["original", "steps"].value == 0


def test_an_oracle_with_nothing_to_relearn_gives_no_index(make_context: MakeContext) -> None:
    estimates = found(made(make_context, oracle=behind(-1.0), ascent=behind(3.5)))
    assert estimates["ascent", "anamnesis_index"].value is None
    assert "0 steps" in estimates["ascent", "anamnesis_index"].reason
    assert estimates["ascent", "steps"].value == 4


def test_censored_runs_are_counted_and_never_used(make_context: MakeContext) -> None:
    pools = {"oracle": behind(9.5, 11.5), "ascent": behind(4.5, 90.0, 6.5)}
    context = made(make_context, none=behind(4.5, 90.0), **pools)
    estimates = found(context)
    for contender, value in (("ascent", 7.0), ("none", None)):
        steps = estimates[contender, "steps"]
        assert (steps.value, steps.low, steps.high) == (value, None, None)
        assert ">40 steps in 1 of" in steps.reason
    assert estimates["none", "anamnesis_index"].value is None
    tables = Relearn().tables(context)
    rows = [r for r in tables["relearn.csv"] if r["contender"] == "ascent"]
    assert [(r["member"], r["steps"], r["censored"]) for r in rows] == [
        (0, 5, 0),
        (1, None, 1),
        (2, 7, 0),
    ]
    assert tables["relearn_settings.csv"][0]["learning_rate"] == RATE


@given(st.lists(st.one_of(st.none(), st.integers(0, 300)), min_size=1, max_size=9))
def test_median_does_not_depend_on_the_place_of_censored_runs(runs: list[int | None]) -> None:
    filled = [[300 + far if one is None else one for one in runs] for far in (1, 10**6)]
    fewer = 2 * runs.count(None) < len(runs)
    medians = {float(np.median(one)) for one in filled}
    assert {median(runs)} == (medians if fewer else {None})


class Noted(nn.Module):
    """A network with dropout that notes mode, records and outputs of every pass."""

    def __init__(self, notes: list[tuple[bool, list[int], float]]) -> None:
        super().__init__()
        self.notes, self.layers = notes, nn.Sequential(nn.Dropout(0.3), nn.Linear(1, 2))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs = self.layers(inputs).log_softmax(dim=1)
        self.notes.append(
            (self.training, inputs[:, 0].int().tolist(), float(outputs.detach().sum()))
        )
        return outputs


class NotedPool:
    """One network, always wrong at first; copies share their notes."""

    votes: int | None = None
    lacks: ClassVar[Mapping[Ability, str]] = {}

    def __init__(self) -> None:
        self.members, self.notes = 2, list[tuple[bool, list[int], float]]()
        self.kept = Noted(self.notes)
        with torch.no_grad():
            self.kept.layers[1].bias.copy_(torch.tensor([-30.0, 30.0]))

    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        with torch.no_grad():
            one = deepcopy(self.kept).eval()(torch.from_numpy(inputs)).exp().double().numpy()
        return np.stack([one, one])

    def network(self, member: int) -> nn.Module:
        copy = deepcopy(self.kept)
        copy.notes = self.notes
        return copy.eval()


def relearned(context: AuditContext, seed: int) -> tuple[NotedPool, Any]:
    torch.manual_seed(0)
    pool = NotedPool()
    torch.manual_seed(seed)
    before, state = deepcopy(pool.kept.state_dict()), torch.get_rng_state()
    relearn = context.settings.relearn.model_copy(update={"batch_size": 6, "max_steps": 7})
    settings = context.settings.model_copy(update={"relearn": relearn})
    changed = replace(context, contenders={**context.contenders, "own": pool}, settings=settings)
    steps = relearn_steps(changed, "own")
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(one, before[name]) for name, one in pool.kept.state_dict().items())
    return pool, steps


def test_runs_see_all_records_by_batches_and_leave_networks_alone(
    make_context: MakeContext,
) -> None:
    context = made(make_context, oracle=behind(9.5))
    pool, steps = relearned(context, 1)
    assert steps == (None, None)
    first, second = pool.notes[:15], pool.notes[15:]
    assert len(second) == 15
    assert [training for training, *_ in first] == [False, *[True, False] * 7]
    assert all(seen == list(range(10, 20)) for training, seen, _ in first if not training)
    batches = [seen for training, seen, _ in first if training]
    assert [len(one) for one in batches] == [6] * 7
    epochs = [[*chain(*batches[:3])], [*chain(*batches[3:6])]]
    for epoch in epochs:
        assert len(set(epoch)) == 18
        assert set(epoch) <= set(range(20))
    assert epochs[0] != epochs[1]
    assert batches != [seen for training, seen, _ in second if training]
    assert pool.notes == relearned(context, 2)[0].notes
