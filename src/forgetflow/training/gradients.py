"""Per-sample gradients of a network, many at a time.

Shapes: B records, C classes; a parameter's gradients are (B, *parameter.shape).
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

OfLogits = Callable[[Tensor, Tensor], Tensor]
"""Maps logits (C,) and a class index () to a number ()."""


def per_sample_gradients(
    network: nn.Module, of_logits: OfLogits, inputs: Tensor, classes: Tensor
) -> dict[str, Tensor]:
    """Return the gradient of a number of each record with respect to every parameter.

    Args:
        network: in evaluation mode, so that no record touches another's forward pass.
        of_logits: what is differentiated.
        inputs: (B, *input_shape); converted to the network's precision.
        classes: class indices int64 (B,).

    Returns:
        One tensor (B, *parameter.shape) per parameter name.
    """
    weights = {name: value.detach() for name, value in network.named_parameters()}
    buffers = dict(network.named_buffers())

    def of_one(weights: dict[str, Tensor], record: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(network, (weights, buffers), (record.unsqueeze(0),))  # (1, C)
        return of_logits(logits[0], label)

    precision = next(iter(weights.values())).dtype
    return vmap(grad(of_one), in_dims=(None, 0, 0))(weights, inputs.to(precision), classes)


def margin(logits: Tensor, label: Tensor) -> Tensor:
    """Return the logit of class `label` minus the logsumexp of all others: log(p / (1 - p))."""
    correct = torch.arange(len(logits), device=logits.device) == label  # (C,)
    return (logits * correct).sum() - logits.masked_fill(correct, -torch.inf).logsumexp(dim=0)


def loss(logits: Tensor, label: Tensor) -> Tensor:
    """Return the cross-entropy -log p, as -log sigmoid(margin).

    In this form a record that is fitted almost perfectly keeps the gradient that
    `softmax - one_hot` rounds to 0.
    """
    return -nn.functional.logsigmoid(margin(logits, label))


def chunk_size(network: nn.Module, gradient_bytes: int) -> int:
    """Return how many gradients fit into `gradient_bytes`, at least 1."""
    one = sum(p.numel() * p.element_size() for p in network.parameters())
    return max(1, gradient_bytes // one)


def chunks(inputs: Tensor, classes: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield records, `size` at a time."""
    for first in range(0, len(inputs), size):
        yield inputs[first : first + size], classes[first : first + size]
