"""A network trained on public records, written as the frozen extractor of other projects."""

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from forgetflow.config.model import ModelSettings
from forgetflow.config.project import Project
from forgetflow.errors import InputError, VerdictError
from forgetflow.files.atomic import write_folder
from forgetflow.files.formats import json_bytes
from forgetflow.files.jsonable import to_json
from forgetflow.keys.digests import Digests, bytes_digest, canonical_order, set_digest
from forgetflow.models.build import build
from forgetflow.records.extractor import frozen_network
from forgetflow.records.extractor_card import (
    CARD,
    MEMBERS,
    WEIGHTS,
    ExtractorCard,
    read_extractor_card,
)
from forgetflow.records.record_set import read_record_set
from forgetflow.records.schema import (
    ColumnFeatures,
    ExtractedFeatures,
    RecordSchema,
    TensorFeatures,
)
from forgetflow.requests.batches import forgotten_ids
from forgetflow.serving.prediction import resolve
from forgetflow.training.card import ModelCard, read_card, weights_file


def export_extractor(project: Project, model: str, folder: Path) -> ExtractorCard:
    """Write the only constituent of a generation as an extractor and return its card.

    The digests of the records it learned from go along, so that an import can refuse an extractor
    that knows the records it is asked to extract.

    Args:
        project: whose model; its records must be public, because nobody can be forgotten in an
            extractor.
        model: an MLflow alias or a generation.
        folder: a new or empty folder.

    Raises:
        InputError: no such model, not one a feature layer can be taken from, the records are no
            longer those it learned from, or the folder holds something else.
        VerdictError: the weights are missing or altered.
    """
    generation = resolve(project, model)
    card = read_card(project.model(generation))
    settings = ModelSettings.model_validate(card.architecture)
    _refuse(card, settings, generation)
    inputs = card.features
    if isinstance(inputs, ExtractedFeatures):
        raise InputError(
            f"models/{generation} takes features of an extractor already: export that extractor's "
            "own project, or train without data.extractor"
        )
    member = card.constituents[0]
    path = project.model(generation) / weights_file(member.shard)
    data = path.read_bytes() if path.is_file() else b""
    if bytes_digest(data) != member.weights:
        raise VerdictError(f"{path} is missing or altered: run `dvc repro` to rebuild it")
    left = read_record_set(project.train).without(forgotten_ids(project, generation))
    if left.digest != card.retain_digest:
        raise InputError(
            f"{project.train} no longer holds the records that models/{generation} learned from: "
            "run `dvc repro`"
        )
    return write_extractor(
        folder,
        settings,
        safetensors.torch.load(data),
        inputs=inputs,
        classes=card.classes,
        members=left.digests,
    )


def write_extractor(
    folder: Path,
    settings: ModelSettings,
    weights: Mapping[str, Tensor],
    *,
    inputs: TensorFeatures | ColumnFeatures,
    classes: int,
    members: Digests | None = None,
) -> ExtractorCard:
    """Write a network as an extractor, complete or not at all.

    Args:
        folder: a new or empty folder, or one that holds this very extractor.
        settings: the `model` block that builds the network.
        weights: its state, by name.
        inputs: how records become its inputs.
        classes: number of classes it tells apart.
        members: digests of the records it learned from, uint8 (M, 32).

    Raises:
        InputError: the network has no feature layer, the weights are not its own, or the folder
            holds something else.
    """
    layer = None
    if settings.family == "network":
        shape = RecordSchema((), inputs).input_shape
        layer = feature_layer(build(settings, shape, classes, seed=0))
    if layer is None:
        raise InputError(
            f"{settings.architecture} has no hidden layer whose output could be features: train a "
            "network such as mlp or lenet"
        )
    data = safetensors.torch.save(dict(sorted(weights.items())))
    card = ExtractorCard(
        architecture=settings.model_dump(
            mode="json", include={"architecture", "hidden", "normalize"}
        ),
        classes=classes,
        inputs=inputs,
        layer=layer,
        weights=bytes_digest(data),
        learned_from=None if members is None else set_digest(members),
    )
    frozen_network(card, weights, str(folder))
    same = (folder / CARD).is_file() and read_extractor_card(folder) == card
    if not same and folder.exists() and (folder.is_file() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty: choose another folder, or remove it first")
    files = [(WEIGHTS, data)]
    if members is not None:
        files.append((MEMBERS, members[canonical_order(members)].tobytes()))
    write_folder(folder, [*files, (CARD, json_bytes(to_json(card)))])
    return card


def feature_layer(network: nn.Module) -> str | None:
    """Return the name of the last linear layer; None where nothing is learned before it."""
    layers = [
        (name, isinstance(module, nn.Linear))
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    linear = [name for name, is_linear in layers if is_linear]
    return linear[-1] if linear and len(layers) > 1 else None


def _refuse(card: ModelCard, settings: ModelSettings, generation: str) -> None:
    if settings.family == "one-class":
        why = "its models know one class each and tell nothing apart"
    elif settings.family == "forest":
        why = "a forest has no layer whose output could be features"
    elif len(card.constituents) != 1:
        why = f"it is an ensemble of {len(card.constituents)} constituents, an extractor is one"
    else:
        return
    raise InputError(
        f"models/{generation} cannot be an extractor: {why}; train a network with "
        "partition.method monolith"
    )
