"""grad-dot: what one gradient step on a training record does to the margin of a query.

The one-checkpoint member of TracIn's family (Pruthi et al., "Estimating Training Data Influence
by Tracing Gradient Descent", NeurIPS 2020, Sec. 3), with the margin instead of the loss as the
quantity explained and the final weights as the only checkpoint.

Let theta be the weights of the constituent that learned from record i. A gradient step of size
eta on the record's loss changes the margin of query j, to first order in eta, by

    margin_j(theta - eta grad loss_i) - margin_j(theta) = -eta <grad loss_i, grad margin_j>

Constituents are isolated: the step moves none of the others. The ensemble's margin is taken to be
the mean of its S members' margins, so the effect of record i on it, per unit of eta, is

    tau[i, j] = -1/S <grad loss_i, grad margin_j>        positive = record i raises margin j

    loss_i   = cross-entropy of record i, without weight decay (which belongs to no record)
    margin_j = logit of the correct class - logsumexp of the other logits = log(p / (1 - p))

Because loss = -log sigmoid(margin), tau[i, j] = (1 - p_i)/S <grad margin_i, grad margin_j>: the
score of a record on itself is never negative, and the loss is computed in this form, which keeps
the gradient of a record that is fitted almost perfectly where `softmax - one_hot` rounds it to 0.

Limits: scores rank records by one first-order step, without curvature; they are no prediction of
retraining. Mean and vote aggregation get the same scores (the margin of a vote has no gradient).

Notation:
    - N: train records, n of them in one constituent; Q: queries
    - B: records in one chunk; C: classes; S: constituents
    - P: parameters of one constituent
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from forgetflow.attribution.task import Task
from forgetflow.config.attribution import AttributionSettings
from forgetflow.records.record_set import RecordSet

Objective = Callable[[Tensor, Tensor], Tensor]
"""Maps logits (C,) and a class index () to a number ()."""


def scores(task: Task, settings: AttributionSettings) -> NDArray[np.float32]:
    """Return tau, float32 (N, Q), in margin (nats) per unit of step size.

    One constituent after another, in chunks: `settings.gradient_mib` bounds the per-sample
    gradients alive at any time (half for queries, half for train records, at least one each).
    Activations of a chunk come on top. Time: N + S Q per-sample gradients, and the N once more
    for every further chunk of queries.
    """
    ensemble, device = task.ensemble, task.ensemble.device
    queries = _on(device, task.queries, np.arange(len(task.queries)))
    tau = np.zeros((len(task.train), len(task.queries)), np.float32)
    for constituent, network in zip(ensemble.card.constituents, ensemble.networks, strict=True):
        rows = np.flatnonzero(task.shard == constituent.shard)
        if not len(rows):
            continue
        train = _on(device, task.train, rows)
        dots = dot_products(network, train, queries, settings.gradient_mib * 2**20)
        tau[rows] = -dots / len(ensemble.networks)
    return tau


def dot_products(
    network: nn.Module,
    train: tuple[Tensor, Tensor],
    queries: tuple[Tensor, Tensor],
    gradient_bytes: int,
) -> NDArray[np.floating]:
    """Return <grad loss_i, grad margin_j> for one network, (n, Q) in the network's precision.

    Args:
        network: in evaluation mode, maps (B, *input_shape) to logits (B, C).
        train: inputs (n, *input_shape) and class indices (n,) on the network's device; n > 0.
        queries: inputs (Q, *input_shape) and class indices (Q,), likewise.
        gradient_bytes: bytes of per-sample gradients alive at any time.
    """
    chunk = chunk_size(network, gradient_bytes)
    columns = []
    for some_queries in _chunks(queries, chunk):
        margins = per_sample_gradients(network, margin, *some_queries)
        columns.append(
            torch.cat([_block(network, records, margins) for records in _chunks(train, chunk)])
        )
    return torch.cat(columns, dim=1).cpu().numpy()


def chunk_size(network: nn.Module, gradient_bytes: int) -> int:
    """Return how many gradients fit into half of `gradient_bytes`, at least 1."""
    one = sum(p.numel() * p.element_size() for p in network.parameters())
    return max(1, gradient_bytes // (2 * one))


def per_sample_gradients(
    network: nn.Module, objective: Objective, inputs: Tensor, classes: Tensor
) -> dict[str, Tensor]:
    """Return the gradient of each record's objective with respect to every parameter.

    Args:
        network: in evaluation mode, so that no record touches another's forward pass.
        objective: `loss` or `margin`.
        inputs: (B, *input_shape); converted to the network's precision.
        classes: class indices int64 (B,).

    Returns:
        One tensor (B, *parameter.shape) per parameter name.
    """
    weights = {name: value.detach() for name, value in network.named_parameters()}
    buffers = dict(network.named_buffers())

    def of_one(weights: dict[str, Tensor], record: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(network, (weights, buffers), (record.unsqueeze(0),))  # (1, C)
        return objective(logits[0], label)

    precision = next(iter(weights.values())).dtype
    return vmap(grad(of_one), in_dims=(None, 0, 0))(weights, inputs.to(precision), classes)


def margin(logits: Tensor, label: Tensor) -> Tensor:
    """Return the logit of class `label` minus the logsumexp of all others: log(p / (1 - p))."""
    correct = torch.arange(len(logits), device=logits.device) == label  # (C,)
    return (logits * correct).sum() - logits.masked_fill(correct, -torch.inf).logsumexp(dim=0)


def loss(logits: Tensor, label: Tensor) -> Tensor:
    """Return the cross-entropy -log p, as -log sigmoid(margin)."""
    return -nn.functional.logsigmoid(margin(logits, label))


def _on(device: torch.device, records: RecordSet, rows: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
    return (
        torch.from_numpy(records.inputs[rows]).to(device),
        torch.from_numpy(records.labels[rows]).to(device),
    )


def _block(
    network: nn.Module, records: tuple[Tensor, Tensor], margins: dict[str, Tensor]
) -> Tensor:
    """Return one block (B, B_queries) of dot products; the records' gradients die on return."""
    losses = per_sample_gradients(network, loss, *records)
    products = [losses[name].flatten(1) @ margins[name].flatten(1).T for name in margins]
    return torch.stack(products).sum(dim=0)


def _chunks(records: tuple[Tensor, Tensor], size: int) -> Iterator[tuple[Tensor, Tensor]]:
    inputs, classes = records
    for first in range(0, len(inputs), size):
        yield inputs[first : first + size], classes[first : first + size]
