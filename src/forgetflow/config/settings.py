"""`params.yaml` as typed settings: one block per room, unknown keys refused.

Every field says its unit. Fields that cannot change the bytes of a model (devices, worker
counts, how often recovery checkpoints are written) live in `run` or are marked so; all
others of `partition`, `model` and `train` are part of every content key.
"""

from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ValidationError, model_validator

from forgetflow.config.attribution import AttributionSettings
from forgetflow.config.base import Block
from forgetflow.config.data import DataSettings
from forgetflow.config.evaluate import EvaluateSettings
from forgetflow.config.gate import GateSettings
from forgetflow.config.lineage import LineageSettings
from forgetflow.config.model import ModelSettings
from forgetflow.config.partition import PartitionSettings
from forgetflow.config.privacy import PrivacySettings
from forgetflow.config.run import RunSettings
from forgetflow.config.train import TrainSettings
from forgetflow.config.unlearn import UnlearnSettings
from forgetflow.errors import InputError
from forgetflow.files.yaml_text import read_yaml


class Settings(Block):
    """The whole of `params.yaml`."""

    data: DataSettings = DataSettings()
    partition: PartitionSettings = PartitionSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    attribution: AttributionSettings = AttributionSettings()
    unlearn: UnlearnSettings = UnlearnSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    gate: GateSettings = GateSettings()
    privacy: PrivacySettings = PrivacySettings()
    lineage: LineageSettings = LineageSettings()
    run: RunSettings = RunSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        architecture, family = self.model.architecture, self.model.family
        if (family == "one-class") != (self.partition.method == "arcane"):
            raise ValueError(
                f"partition.method {self.partition.method} and model.architecture {architecture} "
                "do not go together: arcane needs one-class models (autoencoder, gaussian), and "
                "only arcane can use them"
            )
        if family == "forest" and self.partition.layout[1] > 1:
            raise ValueError(
                "a forest gains nothing from slices: set partition.slices to 1, or "
                "partition.method to monolith"
            )
        if self.attribution.method == "grad_dot" and family != "network":
            raise ValueError(
                f"attribution.method grad_dot needs gradients of class margins, which "
                f"{architecture} has none of: use auto or none"
            )
        return self

    @property
    def aggregation(self) -> Literal["mean", "vote", "scores"]:
        """How constituents become one model (`training.aggregation`)."""
        return "scores" if self.model.family == "one-class" else self.partition.aggregation

    @property
    def attribution_method(self) -> Literal["grad_dot", "none"]:
        """What `attribution.method` means for this model."""
        if self.attribution.method == "auto":
            return "grad_dot" if self.model.family == "network" else "none"
        return self.attribution.method


def load_settings(path: Path) -> Settings:
    """Read and check `params.yaml`.

    Raises:
        InputError: the file is missing, is no YAML mapping, or a key is unknown, has the wrong
            type or an impossible value; the message names the key's path and what is allowed.
    """
    try:
        raw = read_yaml(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path} not found: run this inside a forgetflow project folder") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text: {error}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path} must be a mapping of blocks such as 'partition:' and 'train:'")
    return parse_settings(raw, where=str(path))


def parse_settings(raw: dict[str, Any], where: str = "params.yaml") -> Settings:
    """Turn a mapping into `Settings`; raises `InputError` like `load_settings`."""
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        raise InputError("; ".join(_explain(where, e) for e in error.errors())) from None


def _explain(where: str, error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        allowed = ", ".join(_siblings(error["loc"]))
        return f"{where}: unknown key '{path}'; allowed here: {allowed}"
    message = error["msg"].removeprefix("Value error, ")
    given = "" if isinstance(error["input"], dict) else f" (given: {error['input']!r})"
    return f"{where}: {path}: {message}{given}" if path else f"{where}: {message}"


def _siblings(loc: tuple[int | str, ...]) -> list[str]:
    block: type[BaseModel] = Settings
    for name in loc[:-1]:
        annotation = block.model_fields[str(name)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        block = annotation
    return sorted(block.model_fields)
