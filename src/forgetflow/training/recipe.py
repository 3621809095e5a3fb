"""What makes a constituent what it is apart from its records: settings, seed, code, machine."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from forgetflow.config.model import ModelSettings
from forgetflow.config.settings import Settings
from forgetflow.config.train import TrainSettings
from forgetflow.errors import InputError
from forgetflow.keys.code import code_digest
from forgetflow.keys.digests import digest_of
from forgetflow.models.registry import architecture_module, grid_for
from forgetflow.training import environment

if TYPE_CHECKING:  # numba takes a second to load
    from forgetflow.forest import Grid

Engine = Literal["sequential", "stacked", "vmap", "closed form"]

MODULES: dict[Engine, str] = {
    "sequential": "forgetflow.training.sequential",
    "stacked": "forgetflow.training.stacked",
    "vmap": "forgetflow.training.vmapped",
    "closed form": "forgetflow.training.closed_form",
}
"""What computes the steps of each engine."""

TRAINER = "forgetflow.training.trainer"

STACKABLE = ("mlp", "logistic")
"""Architectures that the engine `stacked` can train (`stacked.stackable` of their networks)."""

CLOSED_FORM = ("forest", "gaussian")
"""Architectures that are fitted without gradient steps: only the engine `closed form` can."""


@dataclass(frozen=True)
class Recipe:
    """Everything except records that makes a constituent what it is.

    Attributes:
        model: architecture settings.
        train: optimisation settings.
        input_shape: shape of one input.
        classes: number of classes C.
        seed: run seed.
        device: where to compute.
        engine: what computes: `sequential`, `stacked`, `closed form` or, in pools, `vmap`.
        independent: whether a learner's bits depend on nothing but itself; in pools on a GPU they
            may depend on who trains beside it, so that nothing exact can be promised.
        grid: thresholds that a forest's splits are chosen from.

    Raises:
        ValueError: the engine `vmap` where learners are to be independent.
    """

    model: ModelSettings
    train: TrainSettings
    input_shape: tuple[int, ...]
    classes: int
    seed: int
    device: torch.device
    engine: Engine
    independent: bool = True
    grid: "Grid | None" = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.engine == "vmap" and self.independent:
            raise ValueError(
                "engine vmap is for pools: bits depend on who trains together, so exactness cannot "
                "be promised"
            )

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        input_shape: tuple[int, ...],
        classes: int,
        root: Path = Path(),
    ) -> "Recipe":
        """Make the recipe that `params.yaml` describes; puts torch into deterministic mode.

        Args:
            settings: `params.yaml`.
            input_shape: shape of one input.
            classes: number of classes C.
            root: folder of the project, where relative paths start.

        Raises:
            InputError: the engine cannot train the architecture, or a file is missing.
        """
        return cls(
            settings.model,
            settings.train,
            input_shape,
            classes,
            settings.run.seed,
            environment.activate(settings.run.device),
            engine_for(settings),
            grid=grid_for(settings.model, prod(input_shape), root),
        )

    def for_pools(self) -> "Recipe":
        """Return the recipe of pools, whose members only have to be draws of the same procedure.

        On a GPU they train together, at the price of bits that depend on each other. On a CPU that
        gains nothing, `train.engine: sequential` forbids it, and only networks in float32 can:
        else the recipe is this one.
        """
        together = self.device.type != "cpu" and self.model.family == "network"
        together = together and self.train.precision == "float32"
        if not together or self.train.engine == "sequential":
            return self
        engine: Engine = "stacked" if self.engine == "stacked" else "vmap"
        return replace(self, engine=engine, independent=False)

    @property
    def ingredients(self) -> dict[str, Any]:
        """What the digest covers, JSON-ready; what is kept of training besides is left out."""
        special: dict[str, Any] = {}
        if not self.independent:
            special["independent"] = False
        if self.grid is not None:
            special["grid"] = digest_of([cuts.tolist() for cuts in self.grid.thresholds])
        unused = None if self.engine == "closed form" else {"checkpoint_seconds", "engine", "log"}
        return special | {
            "model": self.model.relevant(),
            "train": self.train.model_dump(mode="json", exclude=unused) if unused else {},
            "engine": self.engine,
            "input_shape": list(self.input_shape),
            # A class that comes or goes is nothing to the one-class models of the others.
            "classes": 1 if self.model.family == "one-class" else self.classes,
            "seed": self.seed,
            "environment": environment.fingerprint(self.device),
            "code": code_digest(TRAINER, MODULES[self.engine], architecture_module(self.model)),
        }

    @cached_property
    def digest(self) -> str:
        """Digest of all ingredients."""
        return digest_of(self.ingredients)


def engine_for(settings: Settings) -> Engine:
    """Return the engine that `train.engine` means; `auto` is the fastest by `benchmarks/pool.py`.

    Forests and densities have one way to be fitted, and `train.engine` is no business of theirs.

    Stacking wins for linear layers, even one network at a time. It loses for convolutions on a
    CPU, whose batched kernels are slower than one network after another. `vmap` is never meant: see
    `Recipe.for_pools`.

    Raises:
        InputError: the architecture cannot be stacked.
    """
    wanted, architecture = settings.train.engine, settings.model.architecture
    half = settings.train.precision == "bfloat16"
    if wanted == "stacked" and (half or architecture not in STACKABLE):
        what = "in float32" if half else f"{' and '.join(STACKABLE)}, not {architecture}"
        raise InputError(f"train.engine: stacked trains {what}; use auto or sequential")
    if architecture in CLOSED_FORM:
        return "closed form"
    if wanted != "auto":
        return wanted
    return "stacked" if architecture in STACKABLE and not half else "sequential"
