"""What a contender presupposes: the training of an original, and what is kept of it."""

from forgetflow.pools.comparison import ORACLES, Comparison
from forgetflow.requests.batches import ORIGINAL
from forgetflow.training.registry import learners
from forgetflow.training.sequential import weights_of
from forgetflow.training.work import slice_samples
from forgetflow.unlearning.registry import method_named


def presupposed(comparison: Comparison, contender: str, member_bytes: float) -> dict[str, float]:
    """Return `prepared_samples` and `prepared_bytes` of an original's training, and tuning's cost.

    What a method prepares on top of it is counted while its members are made. Settings are given,
    not searched for, so tuning costs nothing here.

    Args:
        comparison: the deletion.
        contender: whose.
        member_bytes: size of a model.
    """
    space = comparison.space
    needed = {"prepared_samples": 0.0, "prepared_bytes": 0.0, "tuning_seconds": 0.0}
    if contender in (ORIGINAL, *ORACLES) or method_named(contender).rebuilds == "all":
        return needed
    restarts = method_named(contender).rebuilds == "affected"
    closed_form = space.recipe.engine == "closed form"  # a state is the model, nothing else
    if closed_form:
        copies = space.assignment.slices if restarts else 1
        needed["prepared_bytes"] = member_bytes * copies
    state = {} if closed_form else learners(space.recipe, [(0, 0)]).state(0)
    kept = state if restarts else weights_of(state)
    for shard in space.occupied(comparison.base):
        sizes = [len(part) for part in space.slice_digests(shard, comparison.base)]
        needed["prepared_samples"] += sum(slice_samples(space.recipe, sizes))
        copies = len(sizes) if restarts else 1
        needed["prepared_bytes"] += copies * sum(tensor.nbytes for tensor in kept.values())
    return needed
