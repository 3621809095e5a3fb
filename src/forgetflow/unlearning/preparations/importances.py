"""Importances: how much the loss of a set of records leans on each weight.

The diagonal of the empirical Fisher information: the mean over records of the squared gradient of
a record's cross-entropy. Squared per record, not per batch: the square of a batch's mean gradient
is another, smaller number that depends on the batch size.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from forgetflow.training.gradients import chunk_size, chunks, loss, per_sample_gradients
from forgetflow.unlearning.meter import Meter
from forgetflow.unlearning.preparation import Preparation, Trained
from forgetflow.unlearning.records import Records

GRADIENT_BYTES = 2**27
"""Bytes of per-sample gradients alive at any time."""


def importances(network: nn.Module, records: Records, meter: Meter) -> dict[str, Tensor]:
    """Return the mean squared gradient of each weight, by parameter name.

    Args:
        network: in evaluation mode.
        records: with labels, at least one.
        meter: counts a pass forward and backward of each record.

    Raises:
        ValueError: the records have no labels.
    """
    if records.labels is None:
        raise ValueError("importances need labels")
    found = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    size = chunk_size(network, GRADIENT_BYTES)
    with meter.by_hand(forward=len(records), backward=len(records)):
        for inputs, labels in chunks(records.inputs, records.labels, size):
            for name, one in per_sample_gradients(network, loss, inputs, labels).items():
                found[name] += one.square().sum(dim=0)
    return {name: total / len(records) for name, total in found.items()}


def of_everything(trained: Trained) -> Mapping[str, Tensor]:
    """Return the importances of all that a constituent learned from."""
    return importances(trained.network, trained.records, trained.meter)


IMPORTANCES = Preparation("importances", of_everything)
