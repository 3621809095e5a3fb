"""What a step descends: objectives, and what they see of a mini-batch.

An objective is called with the student and a batch and returns the number to descend. It must be
made of torch operations that `torch.func.vmap` can map, so that many students can take their steps
together, and objectives of several students that are equal (`==`) may share a step: frozen
dataclasses over numbers are, closures over a teacher are not. What a teacher says of fixed records
belongs into `Batch.targets`.

Shapes: B records, C classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

Forward = Callable[[Tensor], Tensor]
"""Maps inputs (B, *input_shape) to logits (B, C), or to the score of a one-class model (B, 1)."""


@dataclass(frozen=True, eq=False)
class Batch:
    """One mini-batch as an objective sees it.

    Attributes:
        inputs: float32 (B, *input_shape).
        labels: class indices int64 (B,); None where the learner has no right to them.
        forgotten: which records belong to the forget set, bool (B,).
        targets: further tensors with a row for each record, by name, (B, ...).
    """

    inputs: Tensor
    labels: Tensor | None
    forgotten: Tensor
    targets: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def known_labels(self) -> Tensor:
        """The labels, (B,).

        Raises:
            ValueError: the learner has no right to them.
        """
        if self.labels is None:
            raise ValueError("training needs labels")
        return self.labels


class Objective(Protocol):
    """The number that a step descends."""

    def __call__(self, student: Forward, batch: Batch) -> Tensor:
        """Return what to descend, a scalar.

        Args:
            student: the network that is trained.
            batch: the records of the step.
        """


@dataclass(frozen=True)
class CrossEntropy:
    """`weight` times the mean cross-entropy of the labels; a negative weight ascends it."""

    weight: float = 1.0

    def __call__(self, student: Forward, batch: Batch) -> Tensor:
        """Return it for one batch."""
        loss = nn.functional.cross_entropy(student(batch.inputs), batch.known_labels)
        return loss if self.weight == 1 else self.weight * loss


@dataclass(frozen=True)
class Reconstruction:
    """Mean squared error of what a one-class model makes of its records."""

    def __call__(self, student: Forward, batch: Batch) -> Tensor:
        """Return it for one batch.

        A score is minus half the squared error, summed over the inputs: its scale is that of a
        sum, which the step size should not know.
        """
        return student(batch.inputs).mean() * (-2 / batch.inputs[0].numel())
