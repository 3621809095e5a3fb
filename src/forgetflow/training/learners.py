"""What trains: M learners of one architecture and one set of settings, in lockstep.

    sequential   any network, one after another, autograd
    stacked      linear layers and ReLU: all members in each matrix product, hand-written step
    vmap         any network, all members in each kernel: for pools on a GPU only

An engine is part of the recipe: engines differ in the last bits. Within one engine a member's
bits depend on its seed, its records and its steps alone, never on M, on its position or on who
trains beside it; where that is not proven (`stacked` on a GPU), members train alone. Pools on a
GPU do without that promise and say so: their recipe is not `independent`.

Shapes: M members, m of them active (always the first m), T steps, B records per step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forgetflow.keys.digests import Digests, canonical_order
from forgetflow.training.chain import Samples
from forgetflow.training.objective import Batch
from forgetflow.training.recipe import Recipe

FORGOTTEN = "forgotten"
"""Name in `Resident.own` that says which records belong to the forget set."""


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

    def passed(self, member: int) -> int:
        """Return how many records have passed through a member's network."""

    def steps(
        self, data: "Resident", rows: Tensor, counts: Tensor, own: Tensor | None = None
    ) -> None:
        """Make T optimizer steps with the first m members.

        Args:
            data: where the records are.
            rows: positions of the records, int64 (T, m, B), short batches filled up.
            counts: true entries of each batch, int64 (T, m), each at least 1.
            own: positions in `data.own`, like `rows`; None where it is empty.
        """


@dataclass(frozen=True, eq=False)
class Resident:
    """Records of all members together, each once, on the device.

    Attributes:
        digests: uint8 (N, 32), in canonical order.
        inputs: float32 (N, *input_shape).
        labels: class indices int64 (N,); None where the learners have no right to them.
        own: what differs from member to member, by name: the rows of member 0, then those of
            member 1, and so on. `forgotten` among them is `Batch.forgotten`.
    """

    digests: Digests
    inputs: Tensor
    labels: Tensor | None
    own: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: Sequence[Samples], recipe: Recipe) -> "Resident":
        """Gather samples; a record that occurs in several of them is held once.

        Raises:
            ValueError: some parts come with labels and others without.
        """
        apart = list({id(part): part for part in parts}.values())
        digests = np.concatenate([part.digests for part in apart])
        order = canonical_order(digests)
        fresh = np.ones(len(order), bool)
        fresh[1:] = (digests[order][1:] != digests[order][:-1]).any(axis=1)
        where = order[fresh]
        # Filled part by part: everything at once would hold a shared record once per learner.
        inputs = np.empty((len(where), *apart[0].inputs.shape[1:]), apart[0].inputs.dtype)
        labels = np.empty(len(where), np.int64)
        known = all(part.labels is not None for part in apart)
        start = 0
        for part in apart:
            mine = (where >= start) & (where < start + len(part))
            inputs[mine] = part.inputs[where[mine] - start]
            if part.labels is not None:
                if not known:
                    raise ValueError("some records come with labels and others without")
                labels[mine] = part.labels[where[mine] - start]
            start += len(part)
        return cls(
            digests[where],
            torch.from_numpy(inputs).to(recipe.device),
            torch.from_numpy(labels).to(recipe.device) if known else None,
        )

    def batch(self, rows: Tensor, own: Tensor | None = None) -> Batch:
        """Return the records at `rows`, (B,), as an objective sees them.

        Args:
            rows: positions of the records, on the device.
            own: positions in `self.own`, (B,); None where it is empty.
        """
        targets = {} if own is None else {n: t.index_select(0, own) for n, t in self.own.items()}
        forgotten = targets.pop(FORGOTTEN, None)
        if forgotten is None:
            forgotten = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        labels = None if self.labels is None else self.labels.index_select(0, rows)
        return Batch(self.inputs.index_select(0, rows), labels, forgotten, targets)

    def find(self, digests: Digests) -> NDArray[np.intp]:
        """Return the positions of records that are here, (n,), in canonical order of `digests`."""
        wanted = np.ascontiguousarray(digests[canonical_order(digests)])
        return np.searchsorted(_sortable(self.digests), _sortable(wanted))


def _sortable(digests: Digests) -> NDArray[np.bytes_]:
    if not len(digests):
        return np.empty(0, "S32")
    return np.ascontiguousarray(digests).view("S32").ravel()


def labels_of(data: Resident) -> Tensor:
    """Return the class indices of resident records, int64 (N,).

    Raises:
        ValueError: the learners have no right to them.
    """
    if data.labels is None:
        raise ValueError("training needs labels")
    return data.labels
