"""Follow rows down a tree: predictions, and the leaves of a stored tree."""

import numpy as np
from numpy.typing import NDArray

from forgetflow.forest.jit import jit
from forgetflow.forest.layout import (
    COUNTS,
    FEATURE,
    FIRST,
    RIGHT,
    ROWS,
    SLOT,
    THRESHOLD,
    Ints,
    Table,
)


@jit
def leaf_of(nodes: Ints, codes: NDArray[np.uint8], row: int) -> int:
    """Return the line of the leaf that a row reaches.

    Args:
        nodes: int32 (M, COUNTS + C).
        codes: uint8 (D, N).
        row: which column of `codes`.
    """
    node = 0
    while nodes[node, FEATURE] >= 0:
        if codes[nodes[node, FEATURE], row] <= nodes[node, THRESHOLD]:
            node += 1
        else:
            node += nodes[node, RIGHT]
    return node


@jit
def add_shares(nodes: Ints, codes: NDArray[np.uint8], out: NDArray[np.float64]) -> None:
    """Add each row's class shares in its leaf to `out`, float64 (N, C).

    A leaf without rows, the root of a tree that lost them all, gives every class the same.
    """
    classes = out.shape[1]
    for row in range(out.shape[0]):
        leaf = leaf_of(nodes, codes, row)
        total = nodes[leaf, ROWS]
        for c in range(classes):
            share = nodes[leaf, COUNTS + c] / total if total > 0 else 1.0 / classes
            out[row, c] += share


@jit
def link_rows(table: Table, nodes: Ints, after: Ints, rows: Ints) -> bool:
    """Link rows into the leaves they reach; return whether the nodes count exactly these rows.

    Args:
        table: the records.
        nodes: int32 (M, COUNTS + C), all lines of a tree.
        after: int32 (N,), where rows are linked.
        rows: int32 (n,), the tree's rows in any order.
    """
    seen = np.zeros((len(nodes), nodes.shape[1] - COUNTS), np.int32)
    for node in range(len(nodes)):
        nodes[node, SLOT] = -1  # in a leaf, FIRST
    for i in range(len(rows)):
        leaf = leaf_of(nodes, table.codes, rows[i])
        seen[leaf, table.labels[rows[i]]] += 1
        after[rows[i]] = nodes[leaf, FIRST]
        nodes[leaf, FIRST] = rows[i]
    for node in range(len(nodes) - 1, -1, -1):  # children come after their parent
        if nodes[node, FEATURE] >= 0:
            seen[node] = seen[node + 1] + seen[node + nodes[node, RIGHT]]
        for c in range(seen.shape[1]):
            if seen[node, c] != nodes[node, COUNTS + c]:
                return False
    return True


@jit
def is_tree(nodes: Ints, used: int, features: int) -> bool:
    """Return whether the first `used` lines form one tree in preorder over `features`."""
    rights = np.empty(used + 1, np.int64)
    waiting = 0
    for node in range(used):
        if nodes[node, FEATURE] >= 0:
            if nodes[node, FEATURE] >= features or nodes[node, RIGHT] < 2:
                return False
            rights[waiting] = node + nodes[node, RIGHT]
            waiting += 1
        elif waiting == 0:
            return node == used - 1
        else:
            waiting -= 1
            if rights[waiting] != node + 1:
                return False
    return False
