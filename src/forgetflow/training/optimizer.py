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

from forgetflow.config.optimiser import OptimiserSettings

MEMORY = {"sgd": ("momentum_buffer",), "adam": ("exp_avg", "exp_avg_sq", "step")}
"""What each optimizer remembers per parameter; `step` is a single float."""

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Optimizer:
    """Plain SGD with momentum (PyTorch's form: v = m v + g, p = p - lr v) or Adam.

    Args:
        settings: rule and step size.
        parameters: name -> parameter, updated in place.
    """

    def __init__(
        self, settings: OptimiserSettings, parameters: Iterable[tuple[str, Tensor]]
    ) -> None:
        self.settings = settings
        self.parameters = dict(parameters)
        self.memory = {
            entry: {
                name: torch.zeros((), device=p.device) if entry == "step" else torch.zeros_like(p)
                for name, p in self.parameters.items()
            }
            for entry in MEMORY[settings.optimizer]
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
        chosen = self.settings
        with torch.no_grad():
            if chosen.optimizer == "sgd":
                sgd(
                    parameters,
                    gradients,
                    [*memory["momentum_buffer"]] if chosen.momentum else [None] * len(parameters),
                    fused=True,
                    weight_decay=chosen.weight_decay,
                    momentum=chosen.momentum,
                    lr=chosen.learning_rate,
                    dampening=0.0,
                    nesterov=False,
                    maximize=False,
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
                    lr=chosen.learning_rate,
                    weight_decay=chosen.weight_decay,
                    eps=EPSILON,
                    maximize=False,
                )
        for parameter in parameters:
            parameter.grad = None
