"""Take rows out of a tree, or put rows in, so that it equals the tree grown without history.

A node's split is a function of the rows under it. So: correct counts and leaves along the paths
of the changed rows, then walk those paths from the root, decide each split anew, and where the
answer differs grow that subtree again. Where it does not, the subtree not entered by a changed
row is already right.

        root      counts - row: same split          keep
        /   \
       *     .    counts - row: another split       grow again, and splice in
      / \
     *   .        gone with its parent

Nodes stay in preorder without gaps: the tree in memory is the tree that is stored.
"""

import numpy as np

from forgetflow.forest.candidates import tries_of
from forgetflow.forest.draw import child_key
from forgetflow.forest.grow import grow, longer, part
from forgetflow.forest.jit import jit
from forgetflow.forest.layout import (
    AT_HIGH,
    AT_LOW,
    COUNTS,
    FEATURE,
    FIRST,
    HIGH,
    LOW,
    RIGHT,
    ROWS,
    SKIPPED,
    SLOT,
    THRESHOLD,
    TRIED,
    TRIES,
    Context,
    Ints,
    Slots,
    Table,
)
from forgetflow.forest.split import best_candidate, decide, is_leaf, release
from forgetflow.forest.stack import new_stack, pop, push

KEPT, COUNTED, UNKNOWN = 0, 1, 2


@jit
def update(
    context: Context, nodes: Ints, used: int, changed: Ints, sign: int
) -> tuple[Ints, int, int, int]:
    """Delete (`sign` -1) or add (+1) rows; change `nodes` and the links in place.

    Args:
        context: of the tree; records to delete are still in its table.
        nodes: int32 (M, COUNTS + C), of which `used` lines count.
        used: lines of the tree.
        changed: int32 (k,), places in the table; reordered.
        sign: -1 or +1.

    Returns:
        Nodes (another array when it had to grow), lines used, rows and subtrees grown again.
    """
    table, spec, work, slots = context.table, context.spec, context.work, context.slots
    after = context.after
    for i in range(len(changed)):
        move_row(table, nodes, after, changed[i], sign)
    rows_regrown, subtrees = 0, 0
    stack = new_stack(min(spec.max_depth, used) + 2)  # key, node, depth, changed rows from, to
    top = push(stack, 0, spec.key, 0, 0, 0, len(changed))
    while top > 0:
        top -= 1
        key, node, depth, start, stop = pop(stack, top)
        own = changed[start:stop]
        feature, threshold = nodes[node, FEATURE], nodes[node, THRESHOLD]
        verdict = correct(context, nodes, node, depth, own, sign)
        if verdict != KEPT:
            end, counts, rows = end_of(nodes, node), nodes[node, COUNTS:], work.rows[:0]
            slot = nodes[node, SLOT] if feature >= 0 else -1
            if verdict == COUNTED:
                again, at = best_candidate(slots, slot, counts)
            else:
                rows = gather(nodes, node, end, after, work.rows)
                again, at, slot = decide(context, rows, counts, key, depth, slot)
            if again != feature or at != threshold:
                rows = gather(nodes, node, end, after, work.rows)
                release(slots, slot)
                release_below(slots, nodes, node, end)
                grown, lines = grow(context, rows, key, depth)
                nodes, used = splice(nodes, used, node, end, grown[:lines])
                rows_regrown += len(rows)
                subtrees += 1
                continue
            if feature >= 0:
                nodes[node, SLOT] = slot
        if feature >= 0:
            middle = start + part(table.codes, feature, threshold, own, work.spare)
            # The right side is visited first: what is spliced there moves no line to its left.
            if middle > start:
                top = push(stack, top, child_key(key, 0), node + 1, depth + 1, start, middle)
            if stop > middle:
                right = node + nodes[node, RIGHT]
                top = push(stack, top, child_key(key, 1), right, depth + 1, middle, stop)
    return nodes, used, rows_regrown, subtrees


@jit
def move_row(table: Table, nodes: Ints, after: Ints, row: int, sign: int) -> None:
    """Correct the counts on the path of a row and link it into its leaf, or unlink it."""
    node, label = 0, table.labels[row]
    while True:
        nodes[node, ROWS] += sign
        nodes[node, COUNTS + label] += sign
        feature = nodes[node, FEATURE]
        if feature < 0:
            break
        if table.codes[feature, row] <= nodes[node, THRESHOLD]:
            node += 1
        else:
            node += nodes[node, RIGHT]
    if sign > 0:
        after[row] = nodes[node, FIRST]
        nodes[node, FIRST] = row
    elif nodes[node, FIRST] == row:
        nodes[node, FIRST] = after[row]
    else:
        other = nodes[node, FIRST]
        while after[other] != row:
            other = after[other]
        after[other] = after[row]


@jit
def correct(context: Context, nodes: Ints, node: int, depth: int, changed: Ints, sign: int) -> int:
    """Say what the changed rows do to a node, without a look at its other rows.

    Returns:
        KEPT when its split cannot have changed: a leaf that loses rows stays a leaf; a random
        node that loses rows keeps its split while both sides keep `min_leaf` rows, because
        what was invalid stays invalid. COUNTED when its counts are right again. Otherwise
        UNKNOWN: decide from the rows.
    """
    spec, slots = context.spec, context.slots
    slot, n = nodes[node, SLOT], nodes[node, ROWS]
    if nodes[node, FEATURE] < 0:
        return KEPT if sign < 0 else UNKNOWN
    if is_leaf(spec, nodes[node, COUNTS:], n, depth):
        return UNKNOWN
    if depth < spec.random_depth:
        left = nodes[node + 1, ROWS]
        valid = left >= spec.min_leaf and n - left >= spec.min_leaf
        return KEPT if sign < 0 and valid else UNKNOWN
    facts = slots.facts[slot]
    # Where rows arrive, a constant feature may vary now.
    if slot < 0 or facts[TRIES] != tries_of(spec, n) or (sign > 0 and facts[SKIPPED] > 0):
        return UNKNOWN
    for place in range(facts[TRIED]):
        if not correct_feature(context, slot, place, changed, sign):
            return UNKNOWN
    return COUNTED


@jit
def correct_feature(context: Context, slot: int, place: int, changed: Ints, sign: int) -> bool:
    """Add or subtract the changed rows; return whether the same thresholds are to be tried."""
    table, slots, min_leaf = context.table, context.slots, context.spec.min_leaf
    feature, length = slots.features[slot, place], slots.lengths[slot, place]
    # Views, as in `candidates.count_feature`.
    edges, thresholds = slots.edges[slot, place], slots.thresholds[slot, place]
    left = slots.left[slot, place]
    for i in range(len(changed)):
        row = changed[i]
        code, label = table.codes[feature, row], table.labels[row]
        if sign > 0 and (code < edges[LOW] or code > edges[HIGH]):
            return False
        edges[AT_LOW] += sign * (code <= edges[LOW])
        edges[AT_HIGH] += sign * (code >= edges[HIGH])
        for j in range(length):
            left[j, label] += sign * (code <= thresholds[j])
    return edges[AT_LOW] >= min_leaf and edges[AT_HIGH] >= min_leaf


@jit
def gather(nodes: Ints, node: int, end: int, after: Ints, out: Ints) -> Ints:
    """Return the rows of the leaves among the lines [node, end), in `out`."""
    n = 0
    for line in range(node, end):
        if nodes[line, FEATURE] < 0:
            row = nodes[line, FIRST]
            while row >= 0:
                out[n] = row
                n += 1
                row = after[row]
    return out[:n]


@jit
def release_below(slots: Slots, nodes: Ints, node: int, end: int) -> None:
    """Give back the slots of all nodes below `node`."""
    for line in range(node + 1, end):
        if nodes[line, FEATURE] >= 0:
            release(slots, nodes[line, SLOT])


@jit
def end_of(nodes: Ints, node: int) -> int:
    """Return the line after the last line of the subtree at `node`."""
    while nodes[node, FEATURE] >= 0:
        node += nodes[node, RIGHT]
    return node + 1


@jit
def splice(nodes: Ints, used: int, node: int, end: int, grown: Ints) -> tuple[Ints, int]:
    """Put the lines `grown` in the place of the lines [node, end); return nodes, lines used."""
    shift = len(grown) - (end - node)
    if used + shift > len(nodes):
        nodes = longer(nodes, used + shift + used // 4)
    ancestor = 0
    while ancestor < node:
        right = nodes[ancestor, RIGHT]
        if node >= ancestor + right:
            ancestor += right
        else:
            nodes[ancestor, RIGHT] = right + shift
            ancestor += 1
    width = nodes.shape[1]
    flat = nodes.reshape(-1)
    tail, target = flat[end * width : used * width], flat[(end + shift) * width :]
    if shift > 0:
        move_up(tail, target)
    elif shift < 0:
        move(tail, target)
    nodes[node : node + len(grown)] = grown
    return nodes, used + shift


@jit
def move(source: Ints, target: Ints) -> None:
    """Copy to an overlapping place further down; LLVM makes it a memmove."""
    for i in range(len(source)):
        target[i] = source[i]


@jit
def move_up(source: Ints, target: Ints) -> None:
    """Copy to an overlapping place further up; unsigned, so that LLVM makes it a memmove."""
    last = np.uint64(len(source)) - np.uint64(1)
    for i in range(np.uint64(len(source))):
        target[last - i] = source[last - i]
