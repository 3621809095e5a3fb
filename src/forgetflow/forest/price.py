"""What deleting rows from a tree would take, without deleting them.

The same walk as `update`, on counts corrected for its duration: where the split would differ,
the rows below are added up instead of being grown again. Afterwards the tree is as it was, but
for the order of rows within leaves and of free slots, which mean nothing.
"""

from forgetflow.forest.draw import child_key
from forgetflow.forest.grow import part
from forgetflow.forest.jit import jit
from forgetflow.forest.layout import COUNTS, FEATURE, RIGHT, SLOT, THRESHOLD, Context, Ints
from forgetflow.forest.split import best_candidate, decide, release
from forgetflow.forest.stack import new_stack, pop, push
from forgetflow.forest.update import COUNTED, KEPT, correct, end_of, gather, move_row


@jit
def price(context: Context, nodes: Ints, used: int, changed: Ints) -> tuple[int, int]:
    """Return the rows and subtrees that deleting rows would grow again.

    Args:
        context: of the tree.
        nodes: int32 (M, COUNTS + C), of which `used` lines count.
        used: lines of the tree.
        changed: int32 (k,), places in the table; reordered.
    """
    table, spec, work, slots = context.table, context.spec, context.work, context.slots
    after = context.after
    for i in range(len(changed)):
        move_row(table, nodes, after, changed[i], -1)
    rows_regrown, subtrees = 0, 0
    stack = new_stack(min(spec.max_depth, used) + 2)  # key, node, depth, changed rows from, to
    top = push(stack, 0, spec.key, 0, 0, 0, len(changed))
    while top > 0:
        top -= 1
        key, node, depth, start, stop = pop(stack, top)
        own = changed[start:stop]
        feature, threshold = nodes[node, FEATURE], nodes[node, THRESHOLD]
        if feature < 0:
            continue  # a leaf that loses rows stays a leaf
        slot = nodes[node, SLOT]
        left, edges = slots.left[slot].copy(), slots.edges[slot].copy()
        verdict = correct(context, nodes, node, depth, own, -1)
        again, at = feature, threshold
        if verdict != KEPT:
            counts = nodes[node, COUNTS:]
            if verdict == COUNTED:
                again, at = best_candidate(slots, slot, counts)
            else:
                rows = gather(nodes, node, end_of(nodes, node), after, work.rows)
                again, at, other = decide(context, rows, counts, key, depth, -1)
                release(slots, other)
        slots.left[slot], slots.edges[slot] = left, edges  # slot -1 is scratch
        if again != feature or at != threshold:
            rows_regrown += len(gather(nodes, node, end_of(nodes, node), after, work.rows))
            subtrees += 1
            continue
        middle = start + part(table.codes, feature, threshold, own, work.spare)
        if middle > start:
            top = push(stack, top, child_key(key, 0), node + 1, depth + 1, start, middle)
        if stop > middle:
            right = node + nodes[node, RIGHT]
            top = push(stack, top, child_key(key, 1), right, depth + 1, middle, stop)
    for i in range(len(changed)):
        move_row(table, nodes, after, changed[i], 1)
    return rows_regrown, subtrees
