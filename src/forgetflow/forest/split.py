"""Which split a node takes: a function of its key and of the rows under it, as a set.

Greedy nodes count the candidates (`candidates`) and take the one with the lowest weighted Gini
impurity; the first tried wins a tie. Random nodes, the top `random_depth` layers, take the
first valid threshold of the first feature that has one and never look at labels.

After Brophy and Lowd, "Machine Unlearning for Random Forests" (ICML 2021), sections 3 and 4;
draws by hash and a fixed grid are new.
"""

import numpy as np

from forgetflow.forest.candidates import count_candidates, is_pure, valid_range
from forgetflow.forest.draw import feature_key, nth
from forgetflow.forest.jit import jit
from forgetflow.forest.layout import TRIED, Context, Ints, Slots, TreeSpec


@jit
def decide(
    context: Context, rows: Ints, counts: Ints, key: np.uint64, depth: int, slot: int
) -> tuple[int, int, int]:
    """Return feature (-1 for a leaf), threshold and slot of the node that holds `rows`.

    Args:
        context: of the tree.
        rows: int32 (n,), in any order.
        counts: int32 (C,), their classes.
        key: key of the node.
        depth: 0 at the root.
        slot: slot the node holds already, or -1; claimed or given back as needed.
    """
    spec, slots = context.spec, context.slots
    if is_leaf(spec, counts, len(rows), depth):
        release(slots, slot)
        return -1, 0, -1
    if depth < spec.random_depth:
        feature, threshold = random_split(context, rows, key)
        return feature, threshold, -1
    if slot < 0 and len(rows) >= spec.slot_rows:
        slot = claim(slots)
    if not count_candidates(context, rows, key, slot):
        release(slots, slot)
        return -1, 0, -1
    feature, threshold = best_candidate(slots, slot, counts)
    return feature, threshold, slot


@jit
def is_leaf(spec: TreeSpec, counts: Ints, n: int, depth: int) -> bool:
    """Return whether a node of `n` rows stays whole without a look at its features."""
    return depth >= spec.max_depth or n < 2 * spec.min_leaf or is_pure(counts)


@jit
def random_split(context: Context, rows: Ints, key: np.uint64) -> tuple[int, int]:
    """Return the first valid threshold of the first feature that has one, or (-1, 0)."""
    table, spec, codes = context.table, context.spec, context.work.codes
    n = len(rows)
    for turn in range(1 << spec.feature_bits):
        feature = nth(key, spec.feature_bits, turn)
        if feature >= len(spec.widths):
            continue
        for i in range(n):
            codes[i] = table.codes[feature, rows[i]]
        low, high, _, _ = valid_range(codes, n, spec.min_leaf)
        own = feature_key(key, feature)
        for again in range(1 << spec.bits[feature]):
            threshold = nth(own, spec.bits[feature], again)
            if low <= threshold < high:
                return feature, threshold
    return -1, 0


@jit
def best_candidate(slots: Slots, slot: int, counts: Ints) -> tuple[int, int]:
    """Return feature and threshold of the candidate with the best score; the first wins a tie."""
    left, lengths = slots.left[slot], slots.lengths[slot]
    best, best_i, best_j = -1.0, 0, 0
    for i in range(slots.facts[slot, TRIED]):
        for j in range(lengths[i]):
            score = gini_score(left, i, j, counts)
            if score > best:
                best, best_i, best_j = score, i, j
    return slots.features[slot, best_i], slots.thresholds[slot, best_i, best_j]


@jit
def gini_score(left: Ints, i: int, j: int, counts: Ints) -> float:
    """Return sum_c left_c^2 / left + sum_c right_c^2 / right: higher is purer.

    The weighted Gini impurity of the two sides, times the rows, is the rows minus this.
    Numerator and denominator are integers (below 2^63 for the rows a forest accepts), turned
    into float64 and divided once: IEEE 754 prescribes every bit, there is no sum whose order
    could vary, and equal counts give equal scores on any machine.

    Args:
        left: int32 (P, K, C); the candidate is left[i, j].
        i: place of the feature.
        j: place of the threshold.
        counts: int32 (C,), rows on both sides.
    """
    n_left, n_right = np.int64(0), np.int64(0)
    squares_left, squares_right = np.int64(0), np.int64(0)
    for c in range(len(counts)):
        a = np.int64(left[i, j, c])
        b = np.int64(counts[c]) - a
        n_left += a
        n_right += b
        squares_left += a * a
        squares_right += b * b
    return np.float64(squares_left * n_right + squares_right * n_left) / np.float64(
        n_left * n_right
    )


@jit
def claim(slots: Slots) -> int:
    """Return a free slot, -1 when there is none."""
    if slots.free[0] == 0:
        return -1
    slots.free[0] -= 1
    return slots.free[1 + slots.free[0]]


@jit
def release(slots: Slots, slot: int) -> None:
    """Give a slot back; -1 is no slot."""
    if slot >= 0:
        slots.free[1 + slots.free[0]] = slot
        slots.free[0] += 1
