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

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forgetflow.attribution.protocol import Prepared
from forgetflow.attribution.task import Source, Task
from forgetflow.config.attribution import AttributionSettings
from forgetflow.training.gradients import chunk_size, chunks, loss, margin, per_sample_gradients


@dataclass(frozen=True)
class GradDot:
    """Gradient dot products at the final weights."""

    name: str = "grad_dot"
    sources: frozenset[Source] = frozenset({Source.WEIGHTS})

    def prepare(self, task: Task, settings: AttributionSettings) -> Prepared:  # noqa: ARG002
        """There is nothing to prepare: gradients of records are too large to keep."""
        return {}

    def scores(
        self,
        task: Task,
        classes: NDArray[np.int64],
        prepared: Prepared,  # noqa: ARG002
        settings: AttributionSettings,
    ) -> NDArray[np.float32]:
        """Return tau, float32 (N, Q, K), in margin (nats) per unit of step size.

        One constituent after another, in chunks: `settings.gradient_mib` bounds the per-sample
        gradients alive at any time (half for queries, half for train records, at least one each).
        Activations of a chunk come on top. Time: N + S Q K per-sample gradients, and the N once
        more for every further chunk of queries.
        """
        ensemble, device = task.ensemble, task.ensemble.device
        count, each = classes.shape
        inputs = torch.from_numpy(task.queries.inputs).to(device)
        explained = torch.from_numpy(classes).to(device).flatten()  # (Q K,)
        queries = (inputs.repeat_interleave(each, dim=0), explained)
        tau = np.zeros((len(task.train), count * each), np.float32)
        for constituent, network in zip(ensemble.card.constituents, ensemble.networks, strict=True):
            rows = np.flatnonzero(task.shard == constituent.shard)
            if not len(rows):
                continue
            train = (
                torch.from_numpy(task.train.inputs[rows]).to(device),
                torch.from_numpy(task.train.labels[rows]).to(device),
            )
            dots = dot_products(network, train, queries, settings.gradient_mib * 2**20)
            tau[rows] = -dots / len(ensemble.networks)
        return tau.reshape(len(tau), count, each)  # (N, Q, K)


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
    size = chunk_size(network, gradient_bytes // 2)
    columns = []
    for some_queries in chunks(*queries, size):
        margins = per_sample_gradients(network, margin, *some_queries)
        columns.append(
            torch.cat([_block(network, records, margins) for records in chunks(*train, size)])
        )
    return torch.cat(columns, dim=1).cpu().numpy()


def _block(
    network: nn.Module, records: tuple[Tensor, Tensor], margins: dict[str, Tensor]
) -> Tensor:
    """Return one block (B, B_queries) of dot products; the records' gradients die on return."""
    losses = per_sample_gradients(network, loss, *records)
    products = [losses[name].flatten(1) @ margins[name].flatten(1).T for name in margins]
    return torch.stack(products).sum(dim=0)
