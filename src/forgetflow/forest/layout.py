"""The arrays that the compiled kernels share.

Shapes: N records, D features, C classes, B codes per feature (thresholds, and two more), P
features tried at a node, K thresholds tried per feature, S slots, M nodes of a tree.

A tree is an int32 table (M, COUNTS + C) in preorder, a node per line:

    FEATURE    feature of the split, -1 for a leaf
    THRESHOLD  a row goes left when its code is <= this; 0 in a leaf
    RIGHT      lines from the node to its right child, 0 in a leaf; the left child comes next
    ROWS       rows under the node
    SLOT       in a split, the slot with its counts, -1 for none;
    FIRST      in a leaf, its first row, -1 for none; both never part of the state
    COUNTS...  rows of each class under the node

and an int32 array `after` (N,): for each row of a leaf the next one, -1 at the end. Rows are
named by their place in the `Table`; their order within a leaf means nothing.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FEATURE, THRESHOLD, RIGHT, ROWS, SLOT, COUNTS = 0, 1, 2, 3, 4, 5
FIRST = SLOT

SKIPPED, TRIED, TRIES = 0, 1, 2
"""Facts of a slot: features found constant, features counted, thresholds to try of each."""

LOW, HIGH, AT_LOW, AT_HIGH = 0, 1, 2, 3
"""Edges of a feature: valid thresholds [low, high), rows at or below low, at or above high."""

Ints = NDArray[np.int32]
Bytes = NDArray[np.uint8]


class Table(NamedTuple):
    """The records, column by column.

    Attributes:
        codes: uint8 (D, N), from `Grid.codes`.
        labels: int32 (N,), 0 to C - 1.
    """

    codes: Bytes
    labels: Ints


class TreeSpec(NamedTuple):
    """What one tree is drawn from: settings, grid and its key.

    Attributes:
        key: key of the root.
        max_depth, random_depth, min_leaf: as in `ForestSettings`.
        features: P.
        thresholds: K.
        slot_rows: fewest rows for which a node keeps its counts.
        feature_bits: bits that number the features.
        widths: int64 (D,), thresholds of each feature.
        bits: int64 (D,), bits that number them.
    """

    key: np.uint64
    max_depth: int
    random_depth: int
    min_leaf: int
    features: int
    thresholds: int
    slot_rows: int
    feature_bits: int
    widths: NDArray[np.int64]
    bits: NDArray[np.int64]


class Work(NamedTuple):
    """Scratch of one thread; nothing in it outlives a call.

    Attributes:
        rows: int32 (N,), rows under a node.
        spare: int32 (N,), rows on their way right.
        labels: int32 (N,), classes of the rows under a node.
        codes: uint8 (N,), their codes of one feature.
        below: int32 (B, C), rows of each class at or below a code.
    """

    rows: Ints
    spare: Ints
    labels: Ints
    codes: Bytes
    below: Ints


class Slots(NamedTuple):
    """What the larger nodes of one tree count: derived, counted anew from the rows when absent.

    Slot -1, the last, is scratch for nodes without one.

    Attributes:
        left: int32 (S, P, K, C), rows left of each candidate, by class.
        thresholds: uint8 (S, P, K), the candidates of each feature, in the order tried.
        lengths: int32 (S, P), candidates of each feature.
        edges: int32 (S, P, 4), see LOW to AT_HIGH.
        features: int32 (S, P), the features counted, in the order tried.
        facts: int32 (S, 3), see SKIPPED to TRIES.
        free: int32 (S + 1,), the number of free slots, then their names.
    """

    left: Ints
    thresholds: Bytes
    lengths: Ints
    edges: Ints
    features: Ints
    facts: Ints
    free: Ints


class Context(NamedTuple):
    """What every decision in a tree needs.

    Attributes:
        table: the records.
        spec: what the tree is drawn from.
        work: scratch.
        slots: counts of its larger nodes.
        after: int32 (N,), links of its leaves.
    """

    table: Table
    spec: TreeSpec
    work: Work
    slots: Slots
    after: Ints
