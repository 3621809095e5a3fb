"""Predictions for a file of inputs, with a model named by alias or generation.

A model of extracted records takes raw inputs, which go through the extractor first, and features as
they are; where an input has as many numbers as there are features, it is taken for raw.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from forgetflow.config.project import Project
from forgetflow.errors import InputError
from forgetflow.files.parquet import read_parquet
from forgetflow.records.schema import (
    ColumnFeatures,
    ExtractedFeatures,
    RecordSchema,
)
from forgetflow.training.card import ModelCard, card_digest, read_card
from forgetflow.training.ensemble import Ensemble

if TYPE_CHECKING:
    from forgetflow.records.extractor import Extractor

Loaded: TypeAlias = NDArray[Any] | pa.Table
"""What a file holds: one array (N, ...) or a table of columns."""


def predict_file(project: Project, file: Path, model: str) -> list[dict[str, Any]]:
    """Return row number, class name and probability for every input of a file.

    Args:
        project: whose models.
        file: .npy or .npz (first array) of network inputs (N, *input_shape) or (N, F); .csv or
            .parquet with the feature columns, or with one column per flattened input.
        model: an MLflow alias (`serving`, `original`, `candidate`) or a generation.

    Raises:
        InputError: no such model, inputs of another shape, or raw inputs without the extractor
            that the model's records went through; names the file.
        VerdictError: weights or extractor were altered.
    """
    ensemble = Ensemble.load(project.model(resolve(project, model)))
    inputs = read_inputs(file, ensemble.card, project)
    probabilities = ensemble.probabilities(inputs)
    best = probabilities.argmax(axis=1)
    return [
        {
            "row": row + 1,
            "label": ensemble.card.class_names[label],
            "probability": float(probabilities[row, label]),
        }
        for row, label in enumerate(best)
    ]


def resolve(project: Project, model: str) -> str:
    """Return the generation that an alias names; a generation names itself.

    Raises:
        InputError: it is neither.
    """
    if (project.model(model) / "model.json").is_file():
        return model
    from forgetflow.lineage.tree import read_tree

    tree = read_tree(project)
    for version in tree.versions:
        if model in version.aliases:
            if card_digest(read_card(project.model(version.generation))) != version.card:
                raise InputError(
                    f"models/{version.generation} is no longer the model that '{model}' names: "
                    "run `dvc repro`, or load it from MLflow"
                )
            return version.generation
    known = sorted({alias for version in tree.versions for alias in version.aliases})
    raise InputError(
        f"no model '{model}'; aliases: {', '.join(known) or 'none yet, run `dvc repro`'}"
    )


def read_inputs(file: Path, card: ModelCard, project: Project) -> NDArray[np.float32]:
    """Return inputs of the model, float32 (N, *card.input_shape).

    Args:
        file: see `predict_file`.
        card: the model's.
        project: where the extractor is found, if the model's records went through one.

    Raises:
        InputError: the file cannot be read, has inputs of another shape, or has raw inputs and the
            project's extractor is not the model's.
        VerdictError: the extractor was altered.
    """
    if not file.is_file():
        raise InputError(f"{file} not found")
    try:
        loaded = _load(file)
    except (ValueError, OSError, pa.ArrowException) as error:
        raise InputError(f"{file} cannot be read: {error}") from None
    features = card.features
    if not isinstance(features, ExtractedFeatures):
        return _inputs(loaded, RecordSchema(card.class_names, features), file)
    raw = RecordSchema(card.class_names, features.raw)
    if not _is_raw(loaded, raw):
        return _inputs(loaded, RecordSchema(card.class_names, features), file)
    return _extractor(project, features.extractor, file).features(_inputs(loaded, raw, file))


def _extractor(project: Project, digest: str, file: Path) -> "Extractor":
    """Return the project's extractor, if it is the one that the model's records went through."""
    if project.settings.data.extractor_digest != digest:
        raise InputError(
            f"{file} holds raw inputs, but data.extractor in params.yaml is not the extractor "
            f"{digest[:12]} of this model: name that one, or give its features"
        )
    from forgetflow.records.extractor import project_extractor

    return project_extractor(project)


def _is_raw(loaded: Loaded, raw: RecordSchema) -> bool:
    if isinstance(loaded, pa.Table):
        if isinstance(raw.features, ColumnFeatures):
            return {*raw.features.numeric, *raw.features.categorical} <= set(loaded.column_names)
        if "features" in loaded.column_names:
            return bool(loaded["features"].type == raw.to_arrow().field("features").type)
        width = loaded.num_columns
    else:
        width = loaded[:1].size
    return bool(width == np.prod(raw.input_shape))


def _inputs(loaded: Loaded, schema: RecordSchema, file: Path) -> NDArray[np.float32]:
    """Return what a file holds as inputs of a schema, float32 (N, *schema.input_shape)."""
    if not isinstance(loaded, pa.Table):
        return _shaped(loaded, schema, file)
    table, features = loaded, schema.features
    if isinstance(features, ColumnFeatures):
        needed = {*features.numeric, *features.categorical}
        missing = sorted(needed - set(table.column_names))
        if missing:
            raise InputError(f"{file} lacks the column(s) {', '.join(missing)}")
        columns = [pa.field(n, pa.float64()) for n in features.numeric]
        columns += [pa.field(n, pa.string()) for n in features.categorical]
        return schema.inputs(table.select([c.name for c in columns]).cast(pa.schema(columns)))
    if "features" in table.column_names:
        return schema.inputs(table)
    return _shaped(np.column_stack([column.to_numpy() for column in table.columns]), schema, file)


def _load(file: Path) -> Loaded:
    if file.suffix in (".npy", ".npz"):
        return _array(file)
    return _read_csv(file) if file.suffix == ".csv" else read_parquet(file)


def _read_csv(file: Path) -> pa.Table:
    return pa.csv.read_csv(file, read_options=pa.csv.ReadOptions(use_threads=False))


def _array(file: Path) -> NDArray[Any]:
    loaded = np.load(file, allow_pickle=False)
    return loaded if isinstance(loaded, np.ndarray) else loaded[loaded.files[0]]


def _shaped(array: NDArray[Any], schema: RecordSchema, file: Path) -> NDArray[np.float32]:
    width = int(np.prod(schema.input_shape))
    if array.ndim == 0 or array[:1].size != width:
        raw = schema.features.raw if isinstance(schema.features, ExtractedFeatures) else None
        other = f", or raw inputs {RecordSchema((), raw).input_shape}" if raw else ""
        raise InputError(
            f"{file} holds inputs of shape {array.shape[1:]}; the model takes "
            f"{schema.input_shape}{other}"
        )
    flat = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(flat).all():
        raise InputError(f"{file} holds NaN or infinite values")
    return flat.reshape(-1, *schema.input_shape)
