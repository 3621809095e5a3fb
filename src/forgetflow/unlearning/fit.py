"""Training as methods ask for it: what to descend, on which records, for how long.

A method's function yields a `Fit`; the student of its case is trained like that, and the function
goes on. Fits of several cases (one deletion under several seeds, or several shards) whose words are
equal take their steps together where the engine can: the bytes are those of each alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from forgetflow.config.optimiser import OptimiserSettings
from forgetflow.training.chain import Samples
from forgetflow.training.learners import FORGOTTEN, Learners, Resident
from forgetflow.training.lockstep import BURST, Segment, Track, evenly, longest_first, run
from forgetflow.training.objective import Objective
from forgetflow.training.recipe import Recipe
from forgetflow.training.registry import engine_of, learners
from forgetflow.training.schedule import Batches, samples_in
from forgetflow.training.sequential import Statistics, weights_of
from forgetflow.training.trainer import together
from forgetflow.training.work import OnStep
from forgetflow.unlearning.case import Case
from forgetflow.unlearning.records import Records

PLACE = -1
"""Stands for the slice number in the seeds of data orders: no slice has it. A case's second fit
has -2, and so on."""


@dataclass(frozen=True, eq=False)
class Fit:
    """Train the student like this; the optimizer starts with empty memory.

    Attributes:
        objective: what to descend.
        data: records to learn from.
        epochs: passes over them, rounded up to whole steps.
        optimiser: rule, step size and records per step.
        stop: called with (student in evaluation mode, passes made) after every pass; True ends the
            fit. It may look at declared data only.
        statistics: `frozen` uses running statistics (batch normalisation) as they are; `moving`
            lets the records of the fit move them.
        only: parameter name -> bool mask of its shape; all other weights stay as they are, bit for
            bit. None: all weights move.
    """

    objective: Objective
    data: Records
    epochs: float
    optimiser: OptimiserSettings
    stop: Callable[[nn.Module, int], bool] | None = None
    statistics: Statistics = "frozen"
    only: Mapping[str, Tensor] | None = None

    @property
    def steps(self) -> int:
        """Optimizer steps it takes, unless `stop` ends it."""
        return ceil(self.epochs * ceil(len(self.data) / self.optimiser.batch_size))

    @property
    def samples(self) -> int:
        """Records that pass through the student in these steps."""
        return samples_in(len(self.data), self.optimiser.batch_size, self.steps)

    def may_share_steps_with(self, other: "Fit") -> bool:
        """Return whether students of both can take their steps together."""
        mine, others = (
            (fit.objective, fit.epochs, fit.optimiser, fit.statistics, sorted(fit.data.targets))
            for fit in (self, other)
        )
        alone = any(fit.stop or fit.only is not None for fit in (self, other))
        return not alone and mine == others


def trained_as(recipe: Recipe, *, learning_rate: float) -> OptimiserSettings:
    """Return the optimizer that the constituent was trained with, at another step size."""
    words = {name: getattr(recipe.train, name) for name in OptimiserSettings.model_fields}
    return OptimiserSettings(**{**words, "learning_rate": learning_rate})


def carry_out(
    work: Sequence[tuple[Case[Any], Fit]], number: int, on_step: OnStep | None = None
) -> None:
    """Train the student of every case by its fit.

    Args:
        work: cases of one method, whose recipes differ in the seed only.
        number: how many fits these cases had before; it goes into the order of the records.
        on_step: called after every step with (-1 - number, step); meant for one case.
    """
    waiting = [pair for pair in work if pair[1].steps]
    while waiting:
        first = waiting[0][1]
        group = [p for p in waiting if p[1] is first or first.may_share_steps_with(p[1])]
        waiting = [pair for pair in waiting if not any(pair is one for one in group)]
        for part in evenly(group, together(*_how(group[0]))):
            _train(part, PLACE - number, on_step)


def _how(pair: tuple[Case[Any], Fit]) -> tuple[Recipe, Any]:
    """Return the recipe of a fit, and the engine that carries it out."""
    case, fit = pair
    train = case.recipe.train.model_copy(update=fit.optimiser.model_dump())
    recipe = replace(case.recipe, train=train)
    engine = "sequential" if fit.only is not None else engine_of(recipe, fit.objective)
    return recipe, engine


def _train(group: Sequence[tuple[Case[Any], Fit]], place: int, on_step: OnStep | None) -> None:
    recipe, _ = _how(group[0])
    data = _resident([fit.data for _, fit in group], recipe)
    starts = np.cumsum([0, *(len(fit.data) for _, fit in group)]).tolist()
    tracks = []
    for (case, fit), start in zip(group, starts, strict=False):
        where = data.find(fit.data.digests)
        seed, size = case.recipe.seed, fit.optimiser.batch_size
        batches = Batches(fit.data.digests, size, seed, (case.shard, place))
        tracks.append(Track([Segment(batches, where, 0, fit.steps)], start))
    order = longest_first(tracks)
    group, tracks = [group[i] for i in order], [tracks[i] for i in order]
    words = group[0][1]
    members = [(case.recipe.seed, case.shard) for case, _ in group]
    made = learners(recipe, members, words.objective, words.statistics, words.only)
    for member, (case, _) in enumerate(group):
        made.load_weights(member, case.student.state_dict())

    def tell(active: int) -> None:
        if on_step:
            for track in tracks[:active]:
                on_step(place, track.step - 1)

    burst = 1 if on_step else BURST
    if words.stop is None:
        run(made, data, tracks, after=tell, burst=burst)
    else:
        _until(words, group[0][0], made, data, tracks[0], tell)
    for member, ((case, _), track) in enumerate(zip(group, tracks, strict=True)):
        _hand_back(case, made, member)
        passed = made.passed(member)
        case.meter.count(forward=passed, backward=passed, steps=track.step)


def _until(
    fit: Fit,
    case: Case[Any],
    made: Learners,
    data: Resident,
    track: Track,
    tell: Callable[[int], None],
) -> None:
    """Train pass by pass until `fit.stop` has seen enough."""
    whole = track.segment
    per_pass = whole.batches.steps_per_epoch()
    for number, first in enumerate(range(0, whole.last, per_pass), 1):
        part = Segment(whole.batches, whole.where, first, min(first + per_pass, whole.last))
        run(made, data, [Track([part], track.own)], after=tell)
        track.step = part.last
        _hand_back(case, made, 0)
        if fit.stop is not None and fit.stop(case.student, number):
            return


def _hand_back(case: Case[Any], made: Learners, member: int) -> None:
    case.student.load_state_dict(weights_of(made.state(member)))
    case.student.eval()


def _resident(parts: Sequence[Records], recipe: Recipe) -> Resident:
    """Hold records once for all members, and apart what differs between them."""
    held = [
        Samples(
            part.inputs.cpu().numpy(),
            None if part.labels is None else part.labels.cpu().numpy(),
            part.digests,
        )
        for part in parts
    ]
    own = {name: torch.cat([part.targets[name] for part in parts]) for name in parts[0].targets}
    own[FORGOTTEN] = torch.cat([part.forgotten for part in parts])
    return replace(Resident.of(held, recipe), own=own)
