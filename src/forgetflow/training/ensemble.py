"""A model generation: constituents, how they are aggregated, and where they came from.

    models/<generation>/model.json             the card below; counts and digests only
    models/<generation>/shard-000.safetensors  weights and buffers of one constituent

The folder is a pure function of the records that are left (no clock, no host name), so two
routes to the same generation can be compared byte for byte.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import nn

from forgetflow.config.model import ModelSettings
from forgetflow.errors import InputError, VerdictError
from forgetflow.files.atomic import write_folder
from forgetflow.keys.digests import bytes_digest, canonical_json, digest_of
from forgetflow.models.build import build
from forgetflow.store.store import Store
from forgetflow.training.aggregation import Aggregation, combine
from forgetflow.training.sequential import weights_of

BATCH = 1024
"""Records per forward pass; fixed, because the shape of a batch can select other kernels."""


@dataclass(frozen=True)
class Constituent:
    """One member of an ensemble.

    Attributes:
        shard: number of its shard.
        key: content key of its final state in the store.
        weights: sha256 of its weights file.
        records: number of retained records in its shard.
        learned_from: digests of every record set that influenced it.
    """

    shard: int
    key: str
    weights: str
    records: int
    learned_from: tuple[str, ...]


@dataclass(frozen=True)
class ModelCard:
    """What a model generation is, without its weights.

    Attributes:
        generation: `original` or the batch id that made it.
        parent: generation it came from; None for the original.
        method: `build` or the unlearning method.
        guarantee: exact, certified or approximate, towards a build without the forgotten records.
        aggregation: how constituents are combined.
        class_names: names of the C classes.
        input_shape: shape of one input.
        architecture: the `model` settings.
        records: records learned from.
        retain_digest: digest of the set of those records.
        forgotten: records removed since the original, all batches together.
        manifests: digests of the forget manifests from the original to here.
        environment: numeric environment of the training.
        recipe: digest of settings, seed, code and environment.
        constituents: the members, by shard; a shard without records has none.
        features: how records become inputs (`RecordSchema.to_json()["features"]`).
    """

    generation: str
    parent: str | None
    method: str
    guarantee: str
    aggregation: Aggregation
    class_names: tuple[str, ...]
    input_shape: tuple[int, ...]
    architecture: Mapping[str, Any]
    records: int
    retain_digest: str
    forgotten: int
    manifests: tuple[str, ...]
    environment: Mapping[str, Any]
    recipe: str
    constituents: tuple[Constituent, ...]
    features: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping; `ModelCard.from_json(c.to_json()) == c`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ModelCard":
        """Inverse of `to_json`."""
        values = dict(data)
        for name in ("class_names", "input_shape", "manifests"):
            values[name] = tuple(values[name])
        values["constituents"] = tuple(
            Constituent(**{**c, "learned_from": tuple(c["learned_from"])})
            for c in values["constituents"]
        )
        return cls(**values)

    @cached_property
    def digest(self) -> str:
        """Digest of the weights: equal for byte-equal models, whatever their history."""
        return digest_of([[c.shard, c.weights] for c in self.constituents])

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return len(self.class_names)

    def constituent(self, shard: int) -> Constituent | None:
        """Return the member of `shard`, or None when that shard holds no record."""
        return next((c for c in self.constituents if c.shard == shard), None)


def export_weights(store: Store, key: str) -> bytes:
    """Return the weights file of the constituent state `key`: the network without optimizer."""
    weights = weights_of(store.require(key))
    return safetensors.torch.save(dict(sorted(weights.items())))


def write_model(store: Store, card: ModelCard, folder: Path) -> None:
    """Write the folder of a generation, replacing an older one, complete or not at all."""
    write_folder(folder, _model_files(store, card))


def _model_files(store: Store, card: ModelCard) -> Iterator[tuple[str, bytes]]:
    for constituent in card.constituents:
        data = export_weights(store, constituent.key)
        if bytes_digest(data) != constituent.weights:
            raise VerdictError(f"constituent {constituent.shard} changed while it was exported")
        yield weights_file(constituent.shard), data
    text = json.dumps(card.to_json(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    yield "model.json", text.encode()


def weights_file(shard: int) -> str:
    """Return the file name of a constituent's weights."""
    return f"shard-{shard:03d}.safetensors"


def read_card(folder: Path) -> ModelCard:
    """Read the card of a generation.

    Raises:
        InputError: there is no such model, or its card cannot be read.
    """
    path = folder / "model.json"
    try:
        return ModelCard.from_json(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise InputError(f"no model at {folder}: run `dvc repro` first") from None
    except (ValueError, KeyError, TypeError):  # no JSON, or not UTF-8, or not these fields
        raise InputError(f"{path} is not a model card: run `dvc repro` to write it again") from None


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


def card_digest(card: ModelCard) -> str:
    """Return the digest of the whole card, history included."""
    return bytes_digest(canonical_json(card.to_json()))
