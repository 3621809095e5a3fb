"""What a frozen extractor is, without its weights: `extractor.json`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from forgetflow.errors import InputError
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.keys.digests import digest_of
from forgetflow.records.schema import ColumnFeatures, RecordSchema, TensorFeatures

FORMAT: Literal[1] = 1
CARD, WEIGHTS, MEMBERS = "extractor.json", "model.safetensors", "members"


@dataclass(frozen=True)
class ExtractorCard:
    """What an extractor is, without its weights.

    Attributes:
        architecture: the `model` settings that build the network; in JSON `model`.
        classes: number of classes it was trained to tell apart.
        inputs: how records become its inputs.
        layer: name of the linear layer whose input is the feature vector.
        weights: sha256 of the weights file.
        learned_from: digest of the record set it was trained on; None where it is not known.
        format: version of this description; others are refused.
    """

    architecture: Annotated[Mapping[str, Any], Field(alias="model")]
    classes: int
    inputs: TensorFeatures | ColumnFeatures
    layer: str
    weights: str
    learned_from: str | None = None
    format: Literal[1] = FORMAT

    @cached_property
    def digest(self) -> str:
        """Digest of the card, and with it of weights and members."""
        return digest_of(to_json(self))

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
        return from_json(ExtractorCard, json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"no extractor at {folder}: make one with `forgetflow extractor MODEL --output FOLDER`"
        ) from None
    except ValueError:
        raise InputError(
            f"{path} is not the card of an extractor: export the extractor again"
        ) from None
