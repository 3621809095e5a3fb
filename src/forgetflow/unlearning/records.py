"""Records as a method holds them: in canonical order, on the device, of declared kinds only.

Shapes: n records, C classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forgetflow.keys.digests import Digests, canonical_order, set_digest
from forgetflow.training.chain import Samples
from forgetflow.training.objective import Batch

BATCH = 1024
"""Records per forward pass outside training; fixed, because a batch's shape can select kernels."""


@dataclass(frozen=True, eq=False)
class Records:
    """A set of records; two sets can be joined, and parts taken, without looking at positions.

    Attributes:
        digests: uint8 (n, 32), in canonical order, which is that of all tensors here.
        inputs: float32 (n, *input_shape).
        labels: class indices int64 (n,); None where the method has no right to them.
        forgotten: which of them belong to the forget set, bool (n,).
        targets: further tensors with a row for each record, by name, (n, ...).
    """

    digests: Digests
    inputs: Tensor
    labels: Tensor | None
    forgotten: Tensor
    targets: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: Sequence[Samples], device: torch.device, *, forgotten: bool) -> "Records":
        """Gather samples that have no record in common.

        Args:
            parts: at least one.
            device: where the tensors go.
            forgotten: whether they belong to the forget set.
        """
        digests = np.concatenate([part.digests for part in parts])
        order = canonical_order(digests)
        labels = [part.labels for part in parts if part.labels is not None]
        known = len(labels) == len(parts)
        return cls(
            digests[order],
            torch.from_numpy(np.concatenate([part.inputs for part in parts])[order]).to(device),
            torch.from_numpy(np.concatenate(labels)[order]).to(device) if known else None,
            torch.full((len(order),), forgotten, device=device),
        )

    def __len__(self) -> int:
        return len(self.digests)

    @property
    def digest(self) -> str:
        """Digest of the set."""
        return set_digest(self.digests)

    def __getitem__(self, rows: "slice | NDArray[np.bool_] | Tensor") -> "Records":
        """Return some of the records: a slice, or a mask, bool (n,)."""
        if isinstance(rows, Tensor):
            rows = rows.cpu().numpy()
        where = torch.from_numpy(np.arange(len(self))[rows]).to(self.inputs.device)
        return Records(
            self.digests[rows],
            self.inputs.index_select(0, where),
            None if self.labels is None else self.labels.index_select(0, where),
            self.forgotten.index_select(0, where),
            {name: one.index_select(0, where) for name, one in self.targets.items()},
        )

    def __add__(self, other: "Records") -> "Records":
        """Return both sets together.

        Raises:
            ValueError: a record is in both, or one has labels or targets that the other lacks.
        """
        digests = np.concatenate([self.digests, other.digests])
        if len(np.unique(digests, axis=0)) < len(digests):
            raise ValueError("a record is in both sets")
        if self.targets.keys() != other.targets.keys():
            raise ValueError("both sets need the same targets")
        if (self.labels is None) != (other.labels is None):
            raise ValueError("both sets need labels, or neither")
        order = canonical_order(digests)
        where = torch.from_numpy(order).to(self.inputs.device)

        def joined(one: Tensor, two: Tensor) -> Tensor:
            return torch.cat([one, two]).index_select(0, where)

        unlabelled = self.labels is None or other.labels is None
        return Records(
            digests[order],
            joined(self.inputs, other.inputs),
            None if unlabelled else joined(self.labels, other.labels),  # type: ignore[arg-type]
            joined(self.forgotten, other.forgotten),
            {name: joined(one, other.targets[name]) for name, one in self.targets.items()},
        )

    def share(self, part: float) -> "Records":
        """Return a share of the records, 0 to 1: those with the smallest digests."""
        return self.split(part)[0]

    def split(self, part: float) -> "tuple[Records, Records]":
        """Return `share(part)` and the rest."""
        first = round(part * len(self))
        return self[:first], self[first:]

    def with_targets(self, **targets: Tensor) -> "Records":
        """Return the records with further tensors of theirs, (n, ...) each."""
        return replace(self, targets={**self.targets, **targets})

    def through(self, network: nn.Module) -> Tensor:
        """Return what a network maps the records to, without gradient, (n, C)."""
        with torch.no_grad():
            return torch.cat([network(batch.inputs) for batch in self.batches()])

    def batches(self, size: int = BATCH) -> Iterator[Batch]:
        """Yield all records in order, `size` at a time."""
        for first in range(0, len(self), size):
            part = slice(first, first + size)
            yield Batch(
                self.inputs[part],
                None if self.labels is None else self.labels[part],
                self.forgotten[part],
                {name: one[part] for name, one in self.targets.items()},
            )
