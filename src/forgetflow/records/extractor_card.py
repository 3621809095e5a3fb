"""What a frozen extractor is, without its weights: `extractor.json`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from forgetflow.errors import InputError
from forgetflow.keys.digests import digest_of
from forgetflow.records.schema import (
    ExtractedFeatures,
    Features,
    RecordSchema,
    features_from_json,
    features_to_json,
)

FORMAT = 1
CARD, WEIGHTS, MEMBERS = "extractor.json", "model.safetensors", "members"


@dataclass(frozen=True)
class ExtractorCard:
    """What an extractor is, without its weights.

    Attributes:
        architecture: the `model` settings that build the network.
        classes: number of classes it was trained to tell apart.
        inputs: how records become its inputs.
        layer: name of the linear layer whose input is the feature vector.
        weights: sha256 of the weights file.
        learned_from: digest of the record set it was trained on; None where it is not known.
    """

    architecture: Mapping[str, Any]
    classes: int
    inputs: Features
    layer: str
    weights: str
    learned_from: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping; `ExtractorCard.from_json(c.to_json()) == c`."""
        return {
            "format": FORMAT,
            "model": dict(self.architecture),
            "classes": self.classes,
            "inputs": features_to_json(self.inputs),
            "layer": self.layer,
            "weights": self.weights,
            "learned_from": self.learned_from,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ExtractorCard":
        """Inverse of `to_json`; ValueError, KeyError or TypeError for anything else."""
        card = cls(
            architecture=data["model"],
            classes=data["classes"],
            inputs=features_from_json(data["inputs"]),
            layer=data["layer"],
            weights=data["weights"],
            learned_from=data["learned_from"],
        )
        if card.to_json() != data or isinstance(card.inputs, ExtractedFeatures):
            raise ValueError("not a card of this format")
        return card

    @cached_property
    def digest(self) -> str:
        """Digest of the card, and with it of weights and members."""
        return digest_of(self.to_json())

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return RecordSchema((), self.inputs).input_shape


def read_extractor_card(folder: Path) -> ExtractorCard:
    """Read the card of an extractor.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    path = folder / CARD
    try:
        return ExtractorCard.from_json(json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"no extractor at {folder}: make one with `forgetflow extractor MODEL --output FOLDER`"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"{path} is not the card of an extractor: export the extractor again"
        ) from None
