"""Inversion of linear models, whose inputs must end in a known corner of the allowed box."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from forgetflow.audit.context import FLOOR, ORACLE, AuditContext
from forgetflow.audit.inversion import Inversion, forgotten_classes, invert, inverted_members
from forgetflow.audit.protocol import Estimate
from forgetflow.config.evaluate import AuditSettings
from forgetflow.records.record_set import RecordSet, build_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures
from forgetflow.training.abilities import Ability

BOX = np.array([[-1.0, -20.0, 3.0], [2.0, 60.0, 3.0]])
"""Smallest and largest value of three features of very different scale; the last is constant."""


@dataclass
class LinearPool:
    """Two classes; logits of member m are 0 and weights[m] @ input."""

    weights: list[tuple[float, float, float]]
    votes: int | None = None
    lacks: Mapping[Ability, str] = field(default_factory=dict)

    @property
    def members(self) -> int:
        return len(self.weights)

    def network(self, member: int) -> nn.Module:
        layer = nn.Linear(3, 2, bias=False)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([(0.0, 0.0, 0.0), self.weights[member]]))
        return nn.Sequential(layer, nn.LogSoftmax(dim=1)).eval()

    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        raise AssertionError("inversion reads networks only")


def records(labels: list[int], features: NDArray[np.float64]) -> RecordSet:
    names = [f"{i:03d}" for i in range(len(labels))]
    return build_record_set(
        RecordSchema(("a", "b"), TensorFeatures((3,), "float32")),
        record_ids=names,
        subject_ids=names,
        labels=labels,
        features=features.astype(np.float32),
        where="test",
    )


def context(steps: int = 400, **pools: LinearPool) -> AuditContext:
    rng = np.random.default_rng(0)
    test = np.concatenate([BOX, rng.uniform(*BOX, (20, 3))])
    some = records([0] * 6, rng.uniform(*BOX, (6, 3)))
    inversion = {"steps": steps, "members": 2, "starts": 5}
    named = {name.replace("second_oracle", FLOOR): pool for name, pool in pools.items()}
    return AuditContext(
        {ORACLE: LinearPool([(0.1, 0.01, 0.0)]), FLOOR: LinearPool([(0.1, 0.01, 0.0)]), **named},
        {"retain": some, "forget": records([1] * 6, test[:6]), "test": records([0, 1] * 11, test)},
        LinearPool([(0.0, 0.0, 0.0)]),
        AuditSettings.model_validate({"inversion": inversion}),
    )


def found(audit: AuditContext) -> dict[tuple[str, str], Estimate]:
    return {(one.contender, one.statistic): one for one in Inversion().estimates(audit)}


def sigmoid(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


def test_inputs_end_in_the_best_corner_of_the_range_for_each_class() -> None:
    audit = context()
    audit.sets["forget"] = records([0, 1, 1], BOX[[0, 1, 1]])
    network, seen = LinearPool([(1.0, -0.02, 0.1)]).network(0), list[torch.Tensor]()
    network.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone()))
    inputs, classes = invert(audit, network, 0)
    assert classes.tolist() == [1] * 5 + [0] * 5
    corners = np.repeat([[2.0, -20.0, 3.0], [-1.0, 60.0, 3.0]], 5, axis=0)
    assert inputs.numpy() == pytest.approx(corners, abs=1e-4)
    # The climb itself stays in the range, too: what it sees last is what it returns.
    assert len(seen) == 400
    assert seen[-1].numpy() == pytest.approx(corners, abs=1e-4)


def test_inputs_start_apart_and_never_leave_the_range() -> None:
    first, again, other = (
        invert(context(steps=1), LinearPool([(0.1, 0.01, 0.1)]).network(0), member)[0]
        for member in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert len(np.unique(first[:, 1].numpy())) > 2
    steep, _ = invert(context(steps=30), LinearPool([(9.0, 9.0, 9.0)]).network(0), 0)
    for inputs in (first, other, steep):
        values = inputs.numpy().astype(np.float64)
        assert (values >= BOX[0]).all()
        assert (values <= BOX[1]).all()


def test_the_judge_is_the_last_original_and_independent() -> None:
    # The method climbs to (2, -20): sure of itself, while the judge sees the class in (2, 60).
    method = LinearPool([(1.0, -0.02, 0.0), (1.0, -0.05, 0.0)])
    judge = (0.2, 0.03, 0.0)
    audit = context(original=LinearPool([(1.0, 0.1, 0.0), (1.0, 0.1, 0.0), judge]), method=method)
    estimates = found(audit)
    own = estimates["method", "own_confidence"]
    assert own.value == pytest.approx((sigmoid(2 + 0.4) + sigmoid(2 + 1.0)) / 2, rel=1e-4)
    seen = estimates["method", "judge_confidence"]
    assert seen.value == pytest.approx(sigmoid(0.4 - 0.6), rel=1e-4)
    assert seen.target == pytest.approx(sigmoid(0.4 + 1.8), rel=1e-4)
    assert estimates[ORACLE, "judge_confidence"].value == seen.target
    assert own.target == pytest.approx(sigmoid(0.2 + 0.6), rel=1e-4)


def test_the_judge_is_not_inverted() -> None:
    three, two = LinearPool([(1.0, 0.0, 0.0)] * 3), LinearPool([(1.0, 0.0, 0.0)] * 2)
    audit = context(original=two, method=two, longer=three)
    assert inverted_members(audit, "original") == [0]
    assert inverted_members(audit, "method") == [0]
    assert inverted_members(audit, "longer") == [0, 2]
    assert inverted_members(audit, ORACLE) == [0]
    alone = context(original=LinearPool([(1.0, 0.0, 0.0)]), method=two)
    assert inverted_members(alone, "method") == [0, 1]
    estimates = found(alone)
    assert estimates["original", "judge_confidence"].value is None
    assert estimates["original", "judge_confidence"].reason
    assert estimates["method", "judge_confidence"].value is not None


def test_the_most_frequent_classes_are_taken() -> None:
    assert forgotten_classes(np.array([4, 4, 2, 2, 2, 0, 7, 7])).tolist() == [2, 4, 7]
    assert forgotten_classes(np.array([3, 1])).tolist() == [1, 3]
