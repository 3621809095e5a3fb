"""Relearn time and anamnesis index: how fast does a model learn the forget set again?

What was removed has to be learned anew; what was only hidden comes back within a few steps. Every
model is copied and trained on the whole training set, retain and forget records together, until
its accuracy on the forget set is that of the original models, less a tolerance:

    rt(model)      mini-batch steps to accuracy(forget) >= (1 - tolerance) * original's mean there
    AIN(contender) median rt(contender) / median rt(oracle)

after Chundawat et al., "Zero-shot machine unlearning", IEEE TIFS 2023. Near 1 the contender
learns like a retrained model; below, knowledge was left; above, the model was damaged: a wreck
has a long relearn time, so read this beside the accuracy on the retain set.

- Accuracy is checked before the first and after every step; rt is 0 if it is there already.
- A run that does not get there in `max_steps` is censored. It counts as longer than all others,
  never as a number: the median exists while fewer than half of the runs are censored.
- If the oracle needs no step, there is nothing to relearn and no index.
- Seeds move rt by a factor of two and more. Bounds are therefore the range over members, of the
  index over pairs of equal number, and no interval; the second oracle's index is the noise floor.

Codes differ in unit, optimiser, rate, batch, data and check interval, so these numbers compare
with no others; `relearn_settings.csv` says what they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from forgetflow.audit.context import ORACLE, ORIGINAL, AuditContext
from forgetflow.audit.protocol import DISTANCE, Estimate, Range
from forgetflow.files.formats import Row
from forgetflow.keys.digests import keyed_hash
from forgetflow.training.ensemble import BATCH

TABLE = "relearn.csv"
SETTINGS_TABLE = "relearn_settings.csv"

Steps = tuple[int | None, ...]
"""Steps of each member that relearned; None: censored."""


class Relearn:
    """Steps to relearn the forget set, and their ratio to the oracle's."""

    name: ClassVar[str] = "relearn"
    title: ClassVar[str] = "Relearn time and anamnesis index"
    reading: ClassVar[str] = (
        "1 learns the forget set again as slowly as a retrained model; less: knowledge was left; "
        "more: the model was damaged."
    )
    ranges: ClassVar[Mapping[str, Range]] = {"steps": DISTANCE, "anamnesis_index": DISTANCE}

    def __init__(self) -> None:
        # Estimates and tables come of the same runs, which are by far the dearest of an audit.
        self._runs: WeakKeyDictionary[AuditContext, dict[str, Steps]] = WeakKeyDictionary()

    def estimates(self, context: AuditContext) -> list[Estimate]:
        """Return `steps` (oracle too) and `anamnesis_index` on the forget set."""
        runs, limit = self._all(context), context.settings.relearn.max_steps
        if not runs:
            missing = context.lacks("parameters")
            missing = missing or "no original models: they set the accuracy to relearn"
            place = "forget", "anamnesis_index", None
            return [Estimate(self.name, one, *place, reason=missing) for one in context.names]
        oracle = runs[ORACLE]
        target = median(oracle)
        found = [
            _estimate(name, "steps", median(own), own, target, _note(own, limit))
            for name, own in runs.items()
        ]
        for name in context.names:
            value, reason = anamnesis_index(runs[name], oracle, limit)
            ratios = [_ratio(*pair) for pair in zip(runs[name], oracle, strict=False)]
            found.append(_estimate(name, "anamnesis_index", value, ratios, 1.0, reason))
        return found

    def tables(self, context: AuditContext) -> Mapping[str, list[Row]]:
        """Return the steps of every run, and one row of settings they hold under."""
        rows: list[Row] = [
            {"contender": name, "member": member, "steps": steps, "censored": int(steps is None)}
            for name, runs in self._all(context).items()
            for member, steps in enumerate(runs)
        ]
        return {TABLE: rows, SETTINGS_TABLE: [settings_record(context)] if rows else []}

    def _all(self, context: AuditContext) -> dict[str, Steps]:
        """Return the steps of every contender; none without parameters or original models."""
        if context not in self._runs:
            able = ORIGINAL in context.contenders and not context.lacks("parameters")
            names = context.contenders if able else ()
            self._runs[context] = {name: relearn_steps(context, name) for name in names}
        return self._runs[context]


def settings_record(context: AuditContext) -> Row:
    """Return everything that a relearn time depends on apart from the models."""
    settings = context.settings.relearn
    return {
        "unit": "mini-batch steps",
        "optimizer": "Adam",
        "learning_rate": settings.learning_rate,
        "batch_size": settings.batch_size,
        "data": "retain and forget records",
        "check_interval": 1,
        "tolerance": settings.tolerance,
        "max_steps": settings.max_steps,
        "members": settings.members,
        "seed": context.seed,
    }


def relearn_steps(context: AuditContext, contender: str) -> Steps:
    """Return the steps of the first members of a contender, None where censored.

    Members of equal number see the same batches in the same order, whatever the contender.
    """
    target = (1 - context.settings.relearn.tolerance) * context.correct(ORIGINAL, "forget").mean()
    members = min(context.settings.relearn.members, context.members(contender))
    return tuple(
        _relearn(context, context.contenders[contender].network(member), member, float(target))
        for member in range(members)
    )


def median(runs: Sequence[float | None]) -> float | None:
    """Return the median with censored runs as the longest; None if half or more are censored."""
    if 2 * sum(one is None for one in runs) >= len(runs):
        return None
    return float(np.median([np.inf if one is None else one for one in runs]))


def anamnesis_index(own: Steps, oracle: Steps, limit: int) -> tuple[float | None, str]:
    """Return median rt / oracle's median rt, and what there is to know of it."""
    above, below = median(own), median(oracle)
    note = _note(own, limit)
    if None in oracle:
        note += f"; oracle: {_note(oracle, limit)}"
    if below == 0:
        return None, "the oracle needs 0 steps: it has nothing to relearn"
    return None if above is None or below is None else above / below, note


def _relearn(context: AuditContext, network: nn.Module, member: int, target: float) -> int | None:
    """Train `network` in place; return the steps to `target`, None if `max_steps` are too few."""
    settings = context.settings.relearn
    parameters = list(network.parameters())
    device = parameters[0].device
    forget = torch.from_numpy(context.sets["forget"].inputs).to(device)
    labels = torch.from_numpy(context.labels("forget").copy()).to(device)
    optimizer = torch.optim.Adam(parameters, lr=settings.learning_rate)
    seed = keyed_hash(context.seed, "relearn", member) % 2**63
    batches = _batches(context, seed)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # for dropout
        for step in range(settings.max_steps + 1):
            if _accuracy(network.eval(), forget, labels) >= target - 1e-9:
                return step
            if step == settings.max_steps:
                break
            network.train()
            inputs, classes = (one.to(device) for one in next(batches))
            optimizer.zero_grad()
            nn.functional.nll_loss(network(inputs), classes).backward()
            optimizer.step()
    return None


def _batches(context: AuditContext, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield inputs (B, *input_shape) and classes (B,), each epoch in an order of its own.

    The last records of an epoch that fill no batch are left out: a batch of one breaks batch
    normalisation.
    """
    parts = [context.sets[name] for name in ("retain", "forget")]
    first, count = len(parts[0]), sum(len(part) for part in parts)
    size = min(context.settings.relearn.batch_size, count)
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(count, generator=generator).numpy()
        for start in range(0, count - size + 1, size):
            chosen = order[start : start + size]
            places = [chosen[chosen < first], chosen[chosen >= first] - first]
            drawn = list(zip(parts, places, strict=True))
            inputs = np.concatenate([part.inputs[where] for part, where in drawn])
            classes = np.concatenate([part.labels[where] for part, where in drawn])
            yield torch.from_numpy(inputs), torch.from_numpy(classes)


def _accuracy(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        pairs = zip(inputs.split(BATCH), labels.split(BATCH), strict=True)
        hits = sum(int((network(one).argmax(dim=1) == own).sum()) for one, own in pairs)
    return hits / len(labels)


def _ratio(own: int | None, oracle: int | None) -> float | None:
    return None if own is None or not oracle else own / oracle


def _note(runs: Steps, limit: int) -> str:
    censored = sum(one is None for one in runs)
    if censored:
        return f">{limit} steps in {censored} of {len(runs)} runs"
    return f"median and range of {len(runs)} runs"


def _estimate(
    contender: str,
    statistic: str,
    value: float | None,
    members: Sequence[float | None],
    target: float | None,
    reason: str,
) -> Estimate:
    """Return an estimate with the range over members, if there are two and all are known."""
    known = [float(one) for one in members if one is not None]
    whole = value is not None and len(known) == len(members) > 1
    low, high = (min(known), max(known)) if whole else (None, None)
    return Estimate(Relearn.name, contender, "forget", statistic, value, low, high, target, reason)
