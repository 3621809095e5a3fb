"""MLflow's way to a generation: `mlflow.pyfunc.load_model("models:/NAME@serving")`.

The `MLmodel` file names this module; MLflow calls `_load_pyfunc` with the folder that holds
`model.json` and the weights. Nothing is unpickled, and weights are checked against the card.

MLflow checks inputs against the signature first: float32 arrays (N, *input_shape), or a DataFrame
with one column that holds each input as a flat list. For inputs of one dimension it also lets a
DataFrame with a float32 column per input through.

Where the records went through a frozen extractor, the model takes its features; whoever serves it
computes them with `forgetflow.records.extractor.Extractor.load(folder).features(inputs)`. The
metadata `extractor` of the logged model is the digest to check the folder against.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forgetflow.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame  # type: ignore[import-untyped]

    from forgetflow.training.ensemble import Ensemble

LABEL = "label"
"""Output column with the name of the most probable class."""


def probability_column(class_name: str) -> str:
    """Return the output column that holds the probability of a class."""
    return f"probability_{class_name}"


class Predictor:
    """An ensemble behind the interface that MLflow expects of a model."""

    def __init__(self, ensemble: "Ensemble") -> None:
        self.ensemble = ensemble

    def get_raw_model(self) -> "Ensemble":
        """Return the ensemble; MLflow calls this by name."""
        return self.ensemble

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> "DataFrame":  # noqa: ARG002
        """Return the label and the class probabilities of every input.

        Args:
            data: network inputs, an array (N, *input_shape), or an array or DataFrame (N, F) of
                inputs laid flat in row-major order.
            params: MLflow passes it; there is nothing to set.

        Returns:
            One row per input: `label`, then `probability_<class>` for each of the C classes.

        Raises:
            InputError: the inputs do not have the model's shape or are no numbers.
        """
        import pandas as pd

        card = self.ensemble.card
        probabilities = self.ensemble.probabilities(self._inputs(data))
        frame = pd.DataFrame(
            probabilities, columns=[probability_column(name) for name in card.class_names]
        )
        labels = np.array(card.class_names, object)[probabilities.argmax(axis=1)]
        frame.insert(0, LABEL, labels)
        return frame

    def _inputs(self, data: Any) -> NDArray[np.float32]:
        shape = self.ensemble.card.input_shape
        raw = data.to_numpy() if hasattr(data, "to_numpy") else np.asarray(data)
        try:
            return np.ascontiguousarray(raw, np.float32).reshape(len(raw), *shape)
        except (TypeError, ValueError):
            raise InputError(
                f"this model takes arrays of shape (N, {', '.join(map(str, shape))}) or (N, "
                f"{int(np.prod(shape))}), not {raw.shape} of {raw.dtype}"
            ) from None


def _load_pyfunc(data_path: str) -> Predictor:
    """Load a generation; MLflow calls this by name."""
    from forgetflow.training.ensemble import Ensemble

    return Predictor(Ensemble.load(Path(data_path)))
