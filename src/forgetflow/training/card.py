"""What a model generation is, and the folder that holds it.

    models/<generation>/model.json             the card: counts and digests only
    models/<generation>/shard-000.safetensors  weights and buffers of one constituent

The folder is a pure function of the records that are left (no clock, no host name), so two
routes to the same generation can be compared byte for byte.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import safetensors.torch

from forgetflow.errors import InputError, VerdictError
from forgetflow.files.atomic import write_folder
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.keys.digests import bytes_digest, canonical_json, digest_of
from forgetflow.records.schema import Features
from forgetflow.store.store import Store
from forgetflow.training.aggregation import Aggregation
from forgetflow.training.promise import Guarantee, Promise
from forgetflow.training.sequential import weights_of

CARD = "model.json"
FORMAT: Literal[2] = 2


class FormerVersionError(InputError):
    """A card that another version of forgetflow wrote."""


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
        promise: towards a build without the forgotten records.
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
        features: how records become inputs.
        format: version of this description; others are refused.
    """

    generation: str
    parent: str | None
    method: str
    promise: Promise
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
    features: Features
    format: Literal[2] = FORMAT

    @cached_property
    def digest(self) -> str:
        """Digest of the weights: equal for byte-equal models, whatever their history."""
        return digest_of([[c.shard, c.weights] for c in self.constituents])

    @property
    def guarantee(self) -> Guarantee:
        """Kind of the promise."""
        return self.promise.kind

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
    text = json.dumps(to_json(card), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    yield CARD, text.encode()


def weights_file(shard: int) -> str:
    """Return the file name of a constituent's weights."""
    return f"shard-{shard:03d}.safetensors"


def read_card(folder: Path) -> ModelCard:
    """Read the card of a generation.

    Raises:
        InputError: there is no such model, or its card cannot be read.
        FormerVersionError: another version wrote it.
    """
    path = folder / CARD
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"no model at {folder}: run `dvc repro` first") from None
    except ValueError:  # no JSON, or not UTF-8
        raise InputError(f"{path} is not a model card: run `dvc repro` to write it again") from None
    written = isinstance(found, dict) and {"generation", "recipe"} <= found.keys()
    if written and found.get("format") != FORMAT:
        raise FormerVersionError(
            f"{path} was written by another version of forgetflow (format "
            f"{found.get('format', 1)}, this one reads {FORMAT}): `dvc repro --force` builds the "
            "models again, or use that version"
        )
    try:
        return from_json(ModelCard, found)
    except ValueError:
        raise InputError(f"{path} is not a model card: run `dvc repro` to write it again") from None


def card_digest(card: ModelCard) -> str:
    """Return the digest of the whole card, history included."""
    return bytes_digest(canonical_json(to_json(card)))
