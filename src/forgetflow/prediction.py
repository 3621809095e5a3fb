"""Predictions for a file of inputs, with a model named by alias or generation."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from forgetflow.errors import InputError
from forgetflow.parquet import read_parquet
from forgetflow.project import Project
from forgetflow.records.schema import ColumnFeatures, RecordSchema
from forgetflow.training.ensemble import Ensemble, ModelCard, card_digest, read_card


def predict_file(project: Project, file: Path, model: str) -> list[dict[str, Any]]:
    """Return row number, class name and probability for every input of a file.

    Args:
        project: whose models.
        file: .npy or .npz (first array) of network inputs (N, *input_shape) or (N, F); .csv or
            .parquet with the feature columns, or with one column per flattened input.
        model: an MLflow alias (`serving`, `original`, `candidate`) or a generation.

    Raises:
        InputError: no such model, or inputs of another shape; names the file.
    """
    ensemble = Ensemble.load(project.model(resolve(project, model)))
    inputs = read_inputs(file, ensemble.card)
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


def read_inputs(file: Path, card: ModelCard) -> NDArray[np.float32]:
    """Return network inputs, float32 (N, *card.input_shape).

    Raises:
        InputError: the file cannot be read or has inputs of another shape.
    """
    if not file.is_file():
        raise InputError(f"{file} not found")
    try:
        if file.suffix in (".npy", ".npz"):
            return _shaped(_array(file), card, file)
        table = _read_csv(file) if file.suffix == ".csv" else read_parquet(file)
    except (ValueError, OSError, pa.ArrowException) as error:
        raise InputError(f"{file} cannot be read: {error}") from None
    schema = RecordSchema.from_json(
        {"class_names": card.class_names, "features": dict(card.features)}
    )
    features = schema.features
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
    return _shaped(np.column_stack([column.to_numpy() for column in table.columns]), card, file)


def _read_csv(file: Path) -> pa.Table:
    return pa.csv.read_csv(file, read_options=pa.csv.ReadOptions(use_threads=False))


def _array(file: Path) -> NDArray[Any]:
    loaded = np.load(file, allow_pickle=False)
    return loaded if isinstance(loaded, np.ndarray) else loaded[loaded.files[0]]


def _shaped(array: NDArray[Any], card: ModelCard, file: Path) -> NDArray[np.float32]:
    width = int(np.prod(card.input_shape))
    if array.ndim == 0 or array[:1].size != width:
        raise InputError(
            f"{file} holds inputs of shape {array.shape[1:]}; the model takes {card.input_shape}"
        )
    flat = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(flat).all():
        raise InputError(f"{file} holds NaN or infinite values")
    return flat.reshape(-1, *card.input_shape)
