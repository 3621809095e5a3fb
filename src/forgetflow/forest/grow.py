"""Grow a subtree from the rows under a node."""

import numpy as np

from forgetflow.forest.draw import child_key
from forgetflow.forest.jit import jit
from forgetflow.forest.layout import (
    COUNTS,
    FEATURE,
    FIRST,
    RIGHT,
    ROWS,
    SLOT,
    THRESHOLD,
    Bytes,
    Context,
    Ints,
    Table,
)
from forgetflow.forest.split import decide
from forgetflow.forest.stack import new_stack, pop, push


@jit
def grow(context: Context, rows: Ints, key: np.uint64, depth: int) -> tuple[Ints, int]:
    """Return the nodes of the subtree over `rows`, in preorder, and how many lines are used.

    Args:
        context: of the tree; of its scratch only `work.rows` may be in use.
        rows: int32 (n,), in any order; reordered.
        key: key of the subtree's root.
        depth: depth of the subtree's root.
    """
    table, spec, work, after = context.table, context.spec, context.work, context.after
    out = np.empty((max(16, len(rows) // 8), COUNTS + work.below.shape[1]), np.int32)
    used = 0
    # key, rows from, rows to, depth, parent of a right child
    stack = new_stack(min(spec.max_depth - depth, len(rows)) + 2)
    top = push(stack, 0, key, 0, len(rows), depth, -1)
    while top > 0:
        top -= 1
        key, start, stop, level, parent = pop(stack, top)
        if parent >= 0:
            out[parent, RIGHT] = used - parent
        if used == len(out):
            out = longer(out, 2 * used)
        own, line = rows[start:stop], out[used]
        count_classes(table, own, line)
        feature, threshold, slot = decide(context, own, line[COUNTS:], key, level, -1)
        line[FEATURE], line[THRESHOLD], line[RIGHT] = feature, threshold, 0
        line[ROWS] = stop - start
        if feature < 0:
            line[FIRST] = link(own, after)
        else:
            line[SLOT] = slot
            middle = start + part(table.codes, feature, threshold, own, work.spare)
            top = push(stack, top, child_key(key, 1), middle, stop, level + 1, used)
            top = push(stack, top, child_key(key, 0), start, middle, level + 1, -1)
        used += 1
    return out, used


@jit
def count_classes(table: Table, rows: Ints, node: Ints) -> None:
    """Write the classes of `rows` into the counts of `node`."""
    node[COUNTS:] = 0
    for i in range(len(rows)):
        node[COUNTS + table.labels[rows[i]]] += 1


@jit
def part(codes: Bytes, feature: int, threshold: int, rows: Ints, spare: Ints) -> int:
    """Move the rows that go left to the front; return how many they are."""
    left, right = 0, 0
    for i in range(len(rows)):
        row = rows[i]
        if codes[feature, row] <= threshold:
            rows[left] = row
            left += 1
        else:
            spare[right] = row
            right += 1
    for i in range(right):
        rows[left + i] = spare[i]
    return left


@jit
def link(rows: Ints, after: Ints) -> int:
    """Link the rows of a leaf; return the first, -1 for none."""
    first = -1
    for i in range(len(rows)):
        after[rows[i]] = first
        first = rows[i]
    return first


@jit
def longer(lines: Ints, length: int) -> Ints:
    """Return a copy of `lines` with room for `length`."""
    out = np.empty((length, lines.shape[1]), lines.dtype)
    out[: len(lines)] = lines
    return out
