"""A forest as plain arrays, ready for safetensors or npz: no pickle, nothing to execute.

Shapes: M nodes of all trees, C classes, D features, T trees.

    about           uint8, canonical JSON: format, classes, settings
    thresholds      float64, the thresholds of all features, one after the other
    thresholds_end  int64 (D,), where those of each feature end
    nodes_end       int64 (T,), where the nodes of each tree end
    feature         int32 (M,), feature of the split, -1 for a leaf; trees in preorder
    threshold       uint8 (M,), which threshold of that feature
    right           int32 (M,), lines to the right child
    counts          int32 (M, C), rows of each class
    records         uint8 (32,), digest of the set of records (`keys.set_digest`)

Stability: stored forests and certificates are compared by these bytes; `format` counts changes.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forgetflow.errors import InputError
from forgetflow.forest.grid import Grid
from forgetflow.forest.layout import COUNTS, FEATURE, RIGHT, ROWS, SLOT, THRESHOLD, Ints
from forgetflow.forest.route import is_tree
from forgetflow.forest.settings import ForestSettings
from forgetflow.keys.digests import canonical_json

FORMAT = 1
DAMAGED = "the state of the forest is damaged: fetch it again, or fit the forest anew"
Arrays = Mapping[str, NDArray[np.generic]]


def pack(
    settings: ForestSettings, grid: Grid, classes: int, nodes: Sequence[Ints], record_set: str
) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of a forest.

    Args:
        settings: of the forest.
        grid: its thresholds.
        classes: C.
        nodes: per tree, int32 (M_t, COUNTS + C), see `layout`.
        record_set: hex digest of the set of records.
    """
    about = {"format": FORMAT, "classes": classes, "settings": settings.model_dump()}
    lines = np.concatenate(nodes)
    return {
        "about": np.frombuffer(canonical_json(about), np.uint8).copy(),
        "thresholds": np.concatenate(grid.thresholds),
        "thresholds_end": np.cumsum([len(cuts) for cuts in grid.thresholds], dtype=np.int64),
        "nodes_end": np.cumsum([len(tree) for tree in nodes], dtype=np.int64),
        "feature": lines[:, FEATURE].copy(),
        "threshold": lines[:, THRESHOLD].astype(np.uint8),
        "right": lines[:, RIGHT].copy(),
        "counts": lines[:, COUNTS:].copy(),
        "records": np.frombuffer(bytes.fromhex(record_set), np.uint8).copy(),
    }


def unpack(state: Arrays) -> tuple[ForestSettings, Grid, int, list[Ints], str]:
    """Return what `pack` was given.

    Raises:
        InputError: an array is missing or does not fit the others.
    """
    try:
        about: dict[str, Any] = json.loads(state["about"].tobytes())
        if about["format"] != FORMAT:
            raise InputError(
                f"the forest has format {about['format']}, this version reads {FORMAT}: fit it anew"
            )
        settings = ForestSettings.model_validate(about["settings"])
        grid = Grid.of(_pieces(state["thresholds"], state["thresholds_end"]))
        nodes = _nodes(state, about["classes"])
        trees = [piece.copy() for piece in _pieces(nodes, state["nodes_end"])]
        features = len(grid.thresholds)
        whole = all(is_tree(tree, len(tree), features) for tree in trees)
        record_set = state["records"].tobytes().hex()
    except (KeyError, IndexError, TypeError, ValueError) as problem:
        raise InputError(f"{DAMAGED} ({problem})") from problem
    if not whole or len(trees) != settings.trees:
        raise InputError(f"{DAMAGED} (its nodes are not {settings.trees} trees)")
    return settings, grid, about["classes"], trees, record_set


def _nodes(state: Arrays, classes: int) -> Ints:
    counts = state["counts"].astype(np.int32).reshape(-1, classes)
    nodes = np.empty((len(counts), COUNTS + classes), np.int32)
    nodes[:, FEATURE] = state["feature"]
    nodes[:, THRESHOLD] = state["threshold"]
    nodes[:, RIGHT] = state["right"]
    nodes[:, ROWS] = counts.sum(axis=1)
    nodes[:, SLOT] = -1
    nodes[:, COUNTS:] = counts
    return nodes


def _pieces(values: NDArray[Any], ends: NDArray[Any]) -> list[NDArray[Any]]:
    if len(ends) == 0 or ends[-1] != len(values) or (np.diff(ends, prepend=0) < 0).any():
        raise ValueError("ends do not fit")
    return np.split(values, ends[:-1])
