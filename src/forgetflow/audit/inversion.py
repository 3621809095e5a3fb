"""Model inversion: can inputs of the forgotten classes be drawn out of a model?

Fredrikson et al. (CCS 2015): start from noise and climb the gradient of log p(class) in the
input. How sure the inverted model becomes (`own_confidence`) says little, for most networks can
be climbed to certainty on inputs that look like nothing. What counts is whether an *independent*
judge sees the class in them (`judge_confidence`), so no picture is shown and none is kept.

- Classes: the three most frequent of the forget set.
- Starts: normal with each feature's mean and deviation in the test set. Contenders' members of
  equal number have the same starts.
- Climb: Adam on the input in units of those deviations, so one step size suits all features;
  inputs stay within each feature's range in the test set.
- Judge: the last original model, which has seen every class. It is never inverted, nor is the
  model of its number that a method made of it. Only where there is a single original model do
  methods have to be judged by their own parent.

The oracle's estimate is the target. Inputs are treated as continuous, categories too.

Shapes: B = classes x starts inputs at a time, C classes.
"""

from collections.abc import Mapping
from itertools import chain
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forgetflow.audit.context import FLOOR, ORACLE, ORIGINAL, AuditContext
from forgetflow.audit.intervals import mean_interval
from forgetflow.audit.protocol import SHARE, Estimate, Range
from forgetflow.files.formats import Row
from forgetflow.keys.digests import keyed_hash

CLASSES = 3
"""Forgotten classes that are inverted, at most."""

STATISTICS = ("judge_confidence", "own_confidence")


class Inversion:
    """Confidence of an independent judge, and of the model itself, in inverted inputs."""

    name: ClassVar[str] = "inversion"
    title: ClassVar[str] = "Model inversion of the forgotten classes"
    reading: ClassVar[str] = (
        "A judge should see the forgotten classes in inverted inputs no more clearly than in those "
        "of a retrained model."
    )
    ranges: ClassVar[Mapping[str, Range]] = {"judge_confidence": SHARE, "own_confidence": SHARE}

    def estimates(self, context: AuditContext) -> list[Estimate]:
        """Return both confidences on the forget set, 0 to 1, oracle included."""
        missing = context.lacks("gradients")
        if ORIGINAL not in context.contenders:
            missing = "no original model: it is the judge"
        if missing:
            return [
                Estimate(self.name, contender, "forget", statistic, None, reason=missing)
                for contender in context.contenders
                for statistic in STATISTICS
            ]
        judge = context.contenders[ORIGINAL].network(context.members(ORIGINAL) - 1)
        all_of = {name: _confidences(context, name, judge) for name in context.contenders}
        targets = all_of[ORACLE].mean(axis=1)
        found: list[Estimate] = []
        for contender, confidences in all_of.items():
            for statistic, own, target in zip(STATISTICS, confidences, targets, strict=True):
                if len(own):
                    interval = mean_interval(own)
                    place = (self.name, contender, "forget", statistic)
                    found.append(Estimate(*place, *interval, target=float(target)))
                else:
                    reason = "its only model is the judge"
                    found.append(
                        Estimate(self.name, contender, "forget", statistic, None, reason=reason)
                    )
        return found

    def tables(self, context: AuditContext) -> Mapping[str, list[Row]]:  # noqa: ARG002
        """No table: inverted inputs are not handed out."""
        return {}


def inverted_members(context: AuditContext, contender: str) -> list[int]:
    """Return the numbers of the models to invert; none may be the judge."""
    judge = context.members(ORIGINAL) - 1
    independent = contender in (ORACLE, FLOOR) or (contender != ORIGINAL and judge == 0)
    members = range(context.members(contender))
    usable = [member for member in members if independent or member != judge]
    return usable[: context.settings.inversion.members]


def forgotten_classes(labels: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the most frequent classes, at most `CLASSES`; the lower index first of equals."""
    counts = np.bincount(labels)
    order = np.argsort(-counts, kind="stable")[:CLASSES]
    return order[counts[order] > 0]


def invert(context: AuditContext, network: nn.Module, member: int) -> tuple[Tensor, Tensor]:
    """Return inverted inputs (B, *input_shape) and the classes they were made for, (B,).

    Args:
        context: whose test set gives starts and range, and whose forget set the classes.
        network: inputs to log-probabilities (B, C); its gradients are switched off.
        member: number that chooses the starts.
    """
    settings = context.settings.inversion
    device = next(chain(network.parameters(), network.buffers())).device
    network.requires_grad_(False)
    test = torch.from_numpy(context.sets["test"].inputs).to(device)
    mean, deviation = test.mean(dim=0), test.std(dim=0, correction=0)
    spread = torch.where(deviation > 0, deviation, 1.0)
    lowest, highest = test.amin(dim=0), test.amax(dim=0)
    forgotten = torch.from_numpy(forgotten_classes(context.labels("forget"))).to(device)
    classes = forgotten.repeat_interleave(settings.starts)
    seed = keyed_hash(context.seed, "inversion", member) % 2**63
    generator = torch.Generator().manual_seed(seed)
    units = torch.randn((len(classes), *mean.shape), generator=generator).to(device)
    bounds = (lowest - mean) / spread, (highest - mean) / spread
    units.clamp_(*bounds).requires_grad_()
    optimizer = torch.optim.Adam([units], lr=settings.learning_rate)
    for _ in range(settings.steps):
        optimizer.zero_grad()
        logs = network(mean + spread * units)
        nn.functional.nll_loss(logs, classes, reduction="sum").backward()
        optimizer.step()
        with torch.no_grad():
            units.clamp_(*bounds)
    return torch.clamp(mean + spread * units.detach(), lowest, highest), classes


def _confidences(context: AuditContext, contender: str, judge: nn.Module) -> NDArray[np.float64]:
    """Return the judge's and the own mean confidence per inverted model, (2, m)."""
    pairs = []
    for member in inverted_members(context, contender):
        network = context.contenders[contender].network(member)
        inputs, classes = invert(context, network, member)
        pairs.append([_confidence(model, inputs, classes) for model in (judge, network)])
    return np.array(pairs, np.float64).reshape(-1, 2).T


def _confidence(network: nn.Module, inputs: Tensor, classes: Tensor) -> float:
    """Return the mean probability of the class that each input was made for, 0 to 1."""
    with torch.no_grad():
        own = network(inputs).gather(1, classes[:, None])
    return float(own.double().exp().mean())
