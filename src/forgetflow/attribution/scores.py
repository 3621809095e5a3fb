"""Train x query scores of one model generation, and their folder.

    scores.safetensors   train_digests uint8 (N, 32), query_digests uint8 (Q, 32),
                         values float32 (N, Q)
    summary.json         what was computed, counts and aggregates: no digest of a record

Record digests name people's records, so the tensors belong where they can be erased; the summary
may go into metrics, logs and lineage. The folder holds no clock and no host name: equal scores are
equal bytes.

Shapes: N train records, Q queries.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from forgetflow.errors import InputError, VerdictError
from forgetflow.files.atomic import write_folder
from forgetflow.files.formats import json_bytes
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.keys.digests import Digests, bytes_digest

TENSORS, SUMMARY = "scores.safetensors", "summary.json"


@dataclass(frozen=True)
class Summary:
    """What is known of scores without reading them: nothing of a single record.

    A mean or share is None when no pair falls under it, as with queries of one class only.

    Attributes:
        engine: name of the engine.
        settings: the `attribution` settings it ran with.
        generation: model generation that was explained.
        model: digest of its weights.
        constituents: number of its members S.
        train_records: N.
        train_digest: digest of the set of train records.
        queries: Q.
        queries_digest: digest of the set of queries.
        share_positive: share of scores above zero, 0 to 1.
        mean_own_class: mean score of pairs of one class, in the engine's unit.
        mean_other_classes: mean score of pairs of different classes.
        mean_abs_own_class: mean absolute score of pairs of one class.
        mean_abs_other_classes: mean absolute score of pairs of different classes.
    """

    engine: str
    settings: Mapping[str, Any]
    generation: str
    model: str
    constituents: int
    train_records: int
    train_digest: str
    queries: int
    queries_digest: str
    share_positive: float | None
    mean_own_class: float | None
    mean_other_classes: float | None
    mean_abs_own_class: float | None
    mean_abs_other_classes: float | None


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of N train records and Q queries.

    Attributes:
        train_digests: uint8 (N, 32), in canonical order.
        query_digests: uint8 (Q, 32), in canonical order.
        values: float32 (N, Q); positive = learning from the record raises the query's margin.
        summary: provenance and aggregates.
    """

    train_digests: Digests
    query_digests: Digests
    values: NDArray[np.float32]
    summary: Summary

    def to_bytes(self) -> bytes:
        """Return the content of `scores.safetensors`."""
        return safetensors.numpy.save(
            {
                "train_digests": np.ascontiguousarray(self.train_digests),
                "query_digests": np.ascontiguousarray(self.query_digests),
                "values": np.ascontiguousarray(self.values),
            }
        )


def write_scores(scores: Scores, folder: Path) -> None:
    """Write both files, replacing an older folder, complete or not at all."""
    data = scores.to_bytes()
    summary = {**to_json(scores.summary), "sha256": bytes_digest(data)}
    write_folder(folder, [(TENSORS, data), (SUMMARY, json_bytes(summary))])


def read_scores(folder: Path) -> Scores:
    """Read scores back, checking the bytes of the tensors against the summary.

    Raises:
        InputError: there are no scores, or the summary cannot be read.
        VerdictError: the tensors are missing or have other bytes than the summary says.
    """
    try:
        facts = json.loads((folder / SUMMARY).read_bytes())
        digest = facts.pop("sha256")
        summary = from_json(Summary, facts)
    except FileNotFoundError:
        raise InputError(f"no attributions at {folder}: run `dvc repro attribute` first") from None
    except (ValueError, AttributeError, KeyError, TypeError):
        raise InputError(
            f"{folder / SUMMARY} is no summary of scores: run `dvc repro attribute` again"
        ) from None
    path = folder / TENSORS
    data = path.read_bytes() if path.is_file() else b""
    if bytes_digest(data) != digest:
        raise VerdictError(f"{path} is missing or altered: run `dvc repro attribute` again")
    tensors = safetensors.numpy.load(data)
    return Scores(
        tensors["train_digests"], tensors["query_digests"], tensors["values"], summary=summary
    )
