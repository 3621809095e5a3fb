"""torch's optimizers as functions of explicit memory: a checkpoint holds all of it, in plain sight.

The arithmetic is torch's own (its functional SGD and Adam, fused kernels), so a run equals one
with `torch.optim`. Their classes are left out because creating one imports torch's compiler,
which takes longer than retraining a shard, and hides its memory behind integer ids.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from forgetflow.config.train import TrainSettings

MEMORY = {"sgd": ("momentum_buffer",), "adam": ("exp_avg", "exp_avg_sq", "step")}
"""What each optimizer remembers per parameter; `step` is a single float."""

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Optimizer:
    """Plain SGD with momentum (PyTorch's form: v = m v + g, p = p - lr v) or Adam.

    Args:
        train: the `train` settings.
        parameters: name -> parameter, updated in place.
        sign: 1 to descend the loss, -1 to ascend it.
    """

    def __init__(
        self, train: TrainSettings, parameters: Iterable[tuple[str, Tensor]], sign: int = 1
    ) -> None:
        self.train = train
        self.ascend = sign < 0
        self.parameters = dict(parameters)
        self.memory = {
            entry: {
                name: torch.zeros((), device=p.device) if entry == "step" else torch.zeros_like(p)
                for name, p in self.parameters.items()
            }
            for entry in MEMORY[train.optimizer]
        }

    def state(self) -> dict[str, Tensor]:
        """Return the memory as `<entry>.<parameter>` -> tensor."""
        return {
            f"{entry}.{name}": tensor
            for entry, tensors in self.memory.items()
            for name, tensor in tensors.items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from `state()`."""
        with torch.no_grad():
            for name, tensor in self.state().items():
                tensor.copy_(tensors[name])

    def clear(self) -> None:
        """Forget every step made so far."""
        for tensor in self.state().values():
            tensor.zero_()

    def step(self) -> None:
        """Move every parameter along its gradient and clear the gradients."""
        parameters = list(self.parameters.values())
        gradients = [p.grad for p in parameters if p.grad is not None]
        memory = {entry: list(tensors.values()) for entry, tensors in self.memory.items()}
        train = self.train
        with torch.no_grad():
            if train.optimizer == "sgd":
                sgd(
                    parameters,
                    gradients,
                    [*memory["momentum_buffer"]] if train.momentum else [None] * len(parameters),
                    fused=True,
                    weight_decay=train.weight_decay,
                    momentum=train.momentum,
                    lr=train.learning_rate,
                    dampening=0.0,
                    nesterov=False,
                    maximize=self.ascend,
                )
            else:
                adam(
                    parameters,
                    gradients,
                    memory["exp_avg"],
                    memory["exp_avg_sq"],
                    [],
                    memory["step"],
                    fused=True,
                    amsgrad=False,
                    beta1=BETAS[0],
                    beta2=BETAS[1],
                    lr=train.learning_rate,
                    weight_decay=train.weight_decay,
                    eps=EPSILON,
                    maximize=self.ascend,
                )
        for parameter in parameters:
            parameter.grad = None
