"""What a greedy node counts: the rows left of each threshold it tries, class by class.

A node tries `features` features that can be split and `thresholds` valid thresholds of each, in
the order drawn by its key. A threshold is valid when it leaves `min_leaf` rows on both sides.
The counts are all that the choice between candidates needs, so they are what a node keeps.
"""

import numpy as np

from forgetflow.forest.draw import feature_key, nth
from forgetflow.forest.jit import jit
from forgetflow.forest.layout import (
    AT_HIGH,
    AT_LOW,
    HIGH,
    LOW,
    SKIPPED,
    TRIED,
    TRIES,
    Bytes,
    Context,
    Ints,
    TreeSpec,
)

FULL_ROWS = 64
"""Rows up to which a node tries all its thresholds. With more it tries proportionally fewer,
down to one per feature: among few rivals, a single deletion seldom makes another one best, and
it is in the large nodes that this is costly."""


@jit
def count_candidates(context: Context, rows: Ints, key: np.uint64, slot: int) -> bool:
    """Fill a slot with the counts of the node that holds `rows`; return whether it can split.

    Args:
        context: of the tree.
        rows: int32 (n,), in any order.
        key: key of the node.
        slot: which slot to fill.
    """
    table, spec, work = context.table, context.spec, context.work
    n = len(rows)
    for i in range(n):
        work.labels[i] = table.labels[rows[i]]
    tries = tries_of(spec, n)
    tried, skipped = 0, 0
    for turn in range(1 << spec.feature_bits):
        feature = nth(key, spec.feature_bits, turn)
        if feature >= len(spec.widths):
            continue
        for i in range(n):
            work.codes[i] = table.codes[feature, rows[i]]
        own = feature_key(key, feature)
        if not count_feature(context, slot, tried, n, tries, feature, own):
            skipped += 1
            continue
        tried += 1
        if tried == spec.features:
            break
    facts = context.slots.facts[slot]
    facts[SKIPPED], facts[TRIED], facts[TRIES] = skipped, tried, tries
    return tried > 0


@jit
def tries_of(spec: TreeSpec, n: int) -> int:
    """Return how many thresholds per feature a node of `n` rows tries."""
    if n <= FULL_ROWS:
        return min(spec.thresholds, 2 * n)
    return max(1, spec.thresholds * FULL_ROWS // n)


@jit
def is_pure(counts: Ints) -> bool:
    """Return whether at most one class has rows."""
    seen = 0
    for c in range(len(counts)):
        if counts[c] > 0:
            seen += 1
    return seen < 2


@jit
def count_feature(
    context: Context, slot: int, place: int, n: int, tries: int, feature: int, key: np.uint64
) -> bool:
    """Write the counts of a feature to `place` of the slot; return whether it can be split.

    Args:
        context: of the tree, its scratch with labels and codes of the `n` rows.
        slot: which slot.
        place: how many features were counted before.
        n: rows of the node.
        tries: from `tries_of`.
        feature: which feature the codes are of.
        key: from `feature_key`.
    """
    spec, work, slots = context.spec, context.work, context.slots
    low, high, at_low, at_high = valid_range(work.codes, n, spec.min_leaf)
    if low >= high:
        return False
    width = spec.widths[feature]
    length = min(tries, high - low)
    # Views, not slots.left[slot, place, j, c]: four signed indices cost more than the counting.
    thresholds, left = slots.thresholds[slot, place], slots.left[slot, place]
    draw_thresholds(key, spec.bits[feature], low, high, length, thresholds)
    if n * length <= 8 * width:
        count_one_by_one(work.codes, work.labels, n, thresholds, length, left)
    else:
        count_by_sums(work.codes, work.labels, n, thresholds, length, left, work.below, width)
    edges = slots.edges[slot, place]
    edges[LOW], edges[HIGH], edges[AT_LOW], edges[AT_HIGH] = low, high, at_low, at_high
    slots.lengths[slot, place] = length
    slots.features[slot, place] = feature
    return True


@jit
def valid_range(codes: Bytes, n: int, min_leaf: int) -> tuple[int, int, int, int]:
    """Return the valid thresholds [low, high), the rows at or below low, at or above high.

    Args:
        codes: uint8, of which the first `n` count.
        n: at least 2 * min_leaf.
        min_leaf: rows, at least, on either side.
    """
    low, high = codes[0], codes[0]
    if min_leaf > 1:
        ordered = np.sort(codes[:n])
        low, high = ordered[min_leaf - 1], ordered[n - min_leaf]
    else:
        for i in range(n):
            low, high = min(low, codes[i]), max(high, codes[i])
    at_low, at_high = np.int32(0), np.int32(0)
    for i in range(n):
        at_low += codes[i] <= low
        at_high += codes[i] >= high
    return (np.int64(low), np.int64(high), np.int64(at_low), np.int64(at_high))  # type: ignore[return-value]


@jit
def draw_thresholds(
    key: np.uint64, bits: int, low: int, high: int, length: int, out: Bytes
) -> None:
    """Write the first `length` thresholds of [low, high) in the order drawn by `key`."""
    drawn, turn = 0, 0
    while drawn < length:
        threshold = nth(key, bits, turn)
        turn += 1
        if low <= threshold < high:
            out[drawn] = threshold
            drawn += 1


@jit
def count_one_by_one(
    codes: Bytes,
    labels: Ints,
    n: int,
    thresholds: Bytes,
    length: int,
    left: Ints,
) -> None:
    """Write the rows at or below each threshold, by class, to `left` (K, C)."""
    for j in range(length):
        threshold = thresholds[j]
        for c in range(left.shape[1]):  # rows innermost: no counter is read back, so LLVM packs
            count = np.int32(0)
            for i in range(n):
                count += (codes[i] <= threshold) & (labels[i] == c)
            left[j, c] = count


@jit
def count_by_sums(
    codes: Bytes,
    labels: Ints,
    n: int,
    thresholds: Bytes,
    length: int,
    left: Ints,
    below: Ints,
    width: int,
) -> None:
    """Do as `count_one_by_one`, faster for many rows, by running sums over the codes."""
    classes = left.shape[1]
    for t in range(width):
        for c in range(classes):
            below[t, c] = 0
    for i in range(n):
        below[codes[i], labels[i]] += 1
    for c in range(classes):
        count = np.int32(0)
        for t in range(width):
            count += below[t, c]
            below[t, c] = count
    for j in range(length):
        for c in range(classes):
            left[j, c] = below[thresholds[j], c]
