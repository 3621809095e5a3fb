"""What trains: M learners of one architecture and one set of settings, in lockstep.

    sequential   any network, one after another, autograd
    stacked      linear layers and ReLU: all members in each matrix product, hand-written step
    vmap         any network, all members in each kernel: for pools on a GPU only

An engine is part of the recipe: engines differ in the last bits. Within one engine a member's
bits depend on its seed, its records and its steps alone, never on M, on its position or on who
trains beside it; where that is not proven (`stacked` on a GPU), members train alone. Pools on a
GPU do without that promise and say so: the `company` of their recipe matters.

Shapes: M members, m of them active (always the first m), T steps, B records per step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forgetflow.keys.digests import Digests, canonical_order
from forgetflow.training.chain import Samples
from forgetflow.training.recipe import Recipe


class Learners(Protocol):
    """M learners, each with its network, optimizer memory and data."""

    def state(self, member: int) -> dict[str, Tensor]:
        """Return every tensor that decides how training of a member goes on."""

    def load(self, member: int, tensors: Mapping[str, Tensor]) -> None:
        """Let a member continue from `state()`."""

    def load_weights(self, member: int, weights: Mapping[str, Tensor]) -> None:
        """Give a member a network (names as `state_dict()` has them); its memory starts empty."""

    def fit_normalisation(self, member: int, inputs: Tensor) -> None:
        """Fit the member's normalisation, if its network has one, to inputs (N, *shape)."""

    def steps(self, data: "Resident", rows: Tensor, counts: Tensor) -> None:
        """Make T optimizer steps with the first m members, on the mean cross-entropy.

        Args:
            data: where the records are.
            rows: positions of the records, int64 (T, m, B), short batches filled up.
            counts: true entries of each batch, int64 (T, m), each at least 1.
        """


@dataclass(frozen=True, eq=False)
class Resident:
    """Records of all members together, each once, on the device.

    Attributes:
        digests: uint8 (N, 32), in canonical order.
        inputs: float32 (N, *input_shape).
        targets: class indices int64 (N,).
    """

    digests: Digests
    inputs: Tensor
    targets: Tensor

    @classmethod
    def of(cls, parts: Sequence[Samples], recipe: Recipe) -> "Resident":
        """Gather samples; a record that occurs in several of them is held once.

        Raises:
            ValueError: a part comes without targets.
        """
        apart = list({id(part): part for part in parts}.values())
        digests = np.concatenate([part.digests for part in apart])
        order = canonical_order(digests)
        fresh = np.ones(len(order), bool)
        fresh[1:] = (digests[order][1:] != digests[order][:-1]).any(axis=1)
        where = order[fresh]
        # Filled part by part: everything at once would hold a shared record once per learner.
        inputs = np.empty((len(where), *apart[0].inputs.shape[1:]), apart[0].inputs.dtype)
        targets = np.empty(len(where), np.int64)
        start = 0
        for part in apart:
            mine = (where >= start) & (where < start + len(part))
            inputs[mine] = part.inputs[where[mine] - start]
            targets[mine] = _known(part)[where[mine] - start]
            start += len(part)
        return cls(
            digests[where],
            torch.from_numpy(inputs).to(recipe.device),
            torch.from_numpy(targets).to(recipe.device),
        )

    def find(self, digests: Digests) -> NDArray[np.intp]:
        """Return the positions of records that are here, (n,), in canonical order of `digests`."""
        wanted = np.ascontiguousarray(digests[canonical_order(digests)])
        return np.searchsorted(_sortable(self.digests), _sortable(wanted))


def _known(part: Samples) -> NDArray[np.int64]:
    if part.targets is None:
        raise ValueError("training needs targets")
    return part.targets


def _sortable(digests: Digests) -> NDArray[np.bytes_]:
    if not len(digests):
        return np.empty(0, "S32")
    return np.ascontiguousarray(digests).view("S32").ravel()
