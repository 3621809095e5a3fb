"""A model generation that can predict: its constituents, loaded, and how they are aggregated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import nn

from forgetflow.config.model import ModelSettings
from forgetflow.errors import InputError, VerdictError
from forgetflow.keys.digests import bytes_digest
from forgetflow.models.build import build
from forgetflow.store.store import Store
from forgetflow.training.aggregation import combine
from forgetflow.training.card import ModelCard, read_card, weights_file
from forgetflow.training.sequential import weights_of

BATCH = 1024
"""Records per forward pass; fixed, because the shape of a batch can select other kernels."""


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A model generation that can predict.

    Attributes:
        card: what it is.
        networks: one per constituent, in evaluation mode.
        device: where they compute.
    """

    card: ModelCard
    networks: Sequence[nn.Module]
    device: torch.device

    @classmethod
    def load(cls, folder: Path, device: torch.device | None = None) -> "Ensemble":
        """Read a generation, checking every weights file against the card.

        Raises:
            InputError: there is no model in `folder`.
            VerdictError: a weights file is missing or has other bytes than the card says.
        """
        card = read_card(folder)
        where = device or torch.device("cpu")
        networks = []
        for constituent in card.constituents:
            path = folder / weights_file(constituent.shard)
            data = path.read_bytes() if path.is_file() else b""
            if bytes_digest(data) != constituent.weights:
                raise VerdictError(f"{path} is missing or altered: run `dvc repro` to rebuild it")
            networks.append(_network(card, safetensors.torch.load(data), where))
        return cls(card, networks, where)

    @classmethod
    def from_store(
        cls, card: ModelCard, store: Store, device: torch.device | None = None
    ) -> "Ensemble":
        """Load a generation from store states, without a folder."""
        where = device or torch.device("cpu")
        states = [weights_of(store.require(c.key)) for c in card.constituents]
        return cls(card, [_network(card, state, where) for state in states], where)

    @property
    def shards(self) -> list[int]:
        """Number of each member's shard, S of them."""
        return [constituent.shard for constituent in self.card.constituents]

    def outputs(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what every member maps inputs (N, *shape) to, float32 (S, N, O).

        Logits or log-probabilities of C classes, or the score of a one-class model's only class.
        """
        with torch.inference_mode():
            chunks = [self._outputs(x).cpu() for x in torch.from_numpy(inputs).split(BATCH)]
        return torch.cat(chunks, dim=1).numpy()

    def member_probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return softmax outputs of every member, float32 (S, N, C), for inputs (N, *shape).

        Raises:
            ValueError: the members are one-class models, which have no probabilities of their own.
        """
        if self.card.aggregation == "scores":
            raise ValueError("one-class models have scores, not probabilities: see `outputs`")
        return torch.from_numpy(self.outputs(inputs)).softmax(dim=2).numpy()

    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return class probabilities, float64 (N, C); see `aggregation` for the rules.

        Raises:
            InputError: no constituent is left because every record was forgotten.
        """
        return probabilities_of([self], inputs)[0]

    def combined(self, batch: torch.Tensor, known: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return class probabilities of one batch, float64 (B, C), on the ensemble's device.

        Args:
            batch: inputs (B, *shape).
            known: digest of weights -> outputs on this batch; what is missing is added.

        Raises:
            InputError: no constituent is left because every record was forgotten.
        """
        if not self.networks:
            raise InputError("every record was forgotten: this model has no constituent left")
        placed = batch.to(self.device)
        for member, network in zip(self.card.constituents, self.networks, strict=True):
            if member.weights not in known:
                known[member.weights] = network(placed)
        outputs = torch.stack([known[member.weights] for member in self.card.constituents])
        return combine(outputs, self.card.aggregation, self.shards, self.card.classes)

    def predict(self, inputs: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the predicted class index of every input, int64 (N,)."""
        return self.probabilities(inputs).argmax(axis=1)

    def _outputs(self, inputs: torch.Tensor) -> torch.Tensor:
        placed = inputs.to(self.device)
        return torch.stack([network(placed) for network in self.networks])


def probabilities_of(
    ensembles: Sequence[Ensemble], inputs: NDArray[np.float32]
) -> list[NDArray[np.float64]]:
    """Return the class probabilities of several ensembles, float64 (N, C) each.

    The same as `Ensemble.probabilities` of each; constituents that they have in common, as
    generations mostly do, compute once.

    Raises:
        InputError: an ensemble has no constituent left.
    """
    parts: list[list[torch.Tensor]] = [[] for _ in ensembles]
    with torch.inference_mode():
        for x in torch.from_numpy(inputs).split(BATCH):
            known: dict[str, torch.Tensor] = {}
            for one, found in zip(ensembles, parts, strict=True):
                found.append(one.combined(x, known).cpu())
    return [torch.cat(found).numpy() for found in parts]


def _network(
    card: ModelCard, weights: Mapping[str, torch.Tensor], device: torch.device
) -> nn.Module:
    settings = ModelSettings.model_validate(card.architecture)
    network = build(settings, card.input_shape, card.classes, seed=0)
    network.load_state_dict(weights)
    return network.to(device).eval()
