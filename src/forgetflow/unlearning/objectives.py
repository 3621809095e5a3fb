"""Objectives of methods, beside those of training."""

from dataclasses import dataclass

from torch import Tensor, nn

from forgetflow.training.objective import Batch, Forward


@dataclass(frozen=True)
class Distillation:
    """Mean divergence KL(teacher || student) of predictions, in nats per record.

    Attributes:
        target: name of the teacher's logits in `Batch.targets`, (B, C).
        temperature: both sides' logits are divided by it.
    """

    target: str
    temperature: float = 1.0

    def __call__(self, student: Forward, batch: Batch) -> Tensor:
        """Return it for one batch."""
        said = (student(batch.inputs) / self.temperature).log_softmax(dim=1)  # (B, C)
        wanted = (batch.targets[self.target] / self.temperature).softmax(dim=1)
        return nn.functional.kl_div(said, wanted, reduction="batchmean")
