"""A generation as an MLflow logged model: safetensors, the card and an `MLmodel` file.

MLmodel                        flavor python_function, signature, digests
model/model.json               the card
model/shard-000.safetensors    weights; nothing is pickled
"""

import platform
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from forgetflow.errors import VerdictError
from forgetflow.keys.digests import bytes_digest
from forgetflow.lineage.facts import GenerationFacts
from forgetflow.lineage.pyfunc import LABEL, probability_column
from forgetflow.training.card import ModelCard, card_digest, read_card, weights_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.models import ModelSignature

DATA = "model"
"""Folder of the generation's files inside the logged model."""

LOADER = "forgetflow.lineage.pyfunc"
"""Module that MLflow loads the model with."""


def check_folder(facts: GenerationFacts) -> None:
    """Refuse to register files that are not what the card says.

    Raises:
        InputError: there is no model in the folder.
        VerdictError: the folder holds another model, or altered weights.
    """
    folder = facts.model_folder
    if card_digest(read_card(folder)) != facts.digest:
        raise VerdictError(f"{folder} holds another model than the one being registered")
    for member in facts.card.constituents:
        path = folder / weights_file(member.shard)
        if not path.is_file() or bytes_digest(path.read_bytes()) != member.weights:
            raise VerdictError(f"{path} is missing or altered: run `dvc repro` to rebuild it")


def ensure_logged_model(client: "MlflowClient", run: "Run", facts: GenerationFacts) -> str:
    """Return the id of the run's logged model, making it or finishing a half-made one."""
    experiment = run.info.experiment_id
    known = client.search_logged_models(
        [experiment], filter_string=f"source_run_id = '{run.info.run_id}'"
    )
    model = next(iter(known), None) or client.create_logged_model(
        experiment,
        name=_safe_name(facts.card.generation),
        source_run_id=run.info.run_id,
        tags=facts.fixed_tags(),
        params=facts.params(),
        model_type="forgetflow generation",
    )
    if model.status == "READY":
        return model.model_id
    # Named files only: whatever else lies in the folder has no business in MLflow.
    for name in ["model.json", *(weights_file(c.shard) for c in facts.card.constituents)]:
        client.log_model_artifact(model.model_id, str(facts.model_folder / name), DATA)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "MLmodel"
        _write_mlmodel(path, facts, run.info.run_id, model.model_id)
        client.log_model_artifact(model.model_id, str(path))
    client.finalize_logged_model(model.model_id, "READY")
    return model.model_id


def signature(card: ModelCard) -> "ModelSignature":
    """Return inputs float32 (-1, *input_shape), outputs a label and C probabilities."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    columns: list[ColSpec | TensorSpec] = [ColSpec(DataType.string, LABEL)]
    columns += [ColSpec(DataType.double, probability_column(name)) for name in card.class_names]
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, *card.input_shape))]),
        outputs=Schema(columns),
    )


def _write_mlmodel(path: Path, facts: GenerationFacts, run_id: str, model_id: str) -> None:
    from mlflow.models import Model

    card = facts.card
    model = Model(
        run_id=run_id,
        model_id=model_id,
        signature=signature(card),
        metadata={
            "generation": card.generation,
            "guarantee": str(card.guarantee),  # YAML knows no enumerations
            "card": facts.digest,
            "weights": card.digest,
            **_extractor(card),
        },
    )
    model.add_flavor(
        "python_function",
        loader_module=LOADER,
        data=DATA,
        python_version=platform.python_version(),
    )
    model.save(str(path))


def _extractor(card: ModelCard) -> dict[str, str]:
    """Return whose features the model takes; nothing where it takes the records' own inputs."""
    found = getattr(card.features, "extractor", None)
    return {} if found is None else {"extractor": found}


def _safe_name(generation: str) -> str:
    # MLflow refuses these characters in the name of a logged model.
    return "".join("-" if c in "/:.%\"'" else c for c in generation) or "model"
