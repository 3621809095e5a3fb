"""How constituents become one model; no rule looks at training data.

    mean     mean of the prediction vectors (softmax outputs)
    vote     share of the constituents whose most probable class it is; ties: lowest class
    scores   one-class models: the posterior exp(score) / sum, equal priors for the classes that
             have a model; a class without one has probability 0

Ties between classes go to the lowest class index in all three.

Shapes: S constituents, B records, C classes, O outputs per constituent: C, or 1 for one-class
models, whose class is the number of their shard.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Aggregation = Literal["mean", "vote", "scores"]


def combine(outputs: Tensor, rule: Aggregation, shards: Sequence[int], classes: int) -> Tensor:
    """Return class probabilities, float64 (B, C).

    Args:
        outputs: of each constituent, (S, B, O): logits, log-probabilities or scores.
        rule: how they are combined.
        shards: number of each constituent's shard.
        classes: number of classes C.
    """
    if rule == "scores":
        posterior = outputs.squeeze(2).T.double().softmax(dim=1)
        found = posterior.new_zeros(len(posterior), classes)
        found[:, list(shards)] = posterior
        return found
    members = outputs.softmax(dim=2)
    if rule == "vote":
        members = nn.functional.one_hot(members.argmax(dim=2), classes)
    return members.double().mean(dim=0)


def log_combine(outputs: Tensor, rule: Aggregation, shards: Sequence[int], classes: int) -> Tensor:
    """Return log-probabilities (B, C), differentiable in the outputs.

    `vote` is treated as `mean`, because a vote has no gradient. Arguments as in `combine`.
    """
    if rule == "scores":
        posterior = outputs.squeeze(2).T.log_softmax(dim=1)
        found = posterior.new_full((len(posterior), classes), -torch.inf)
        return found.index_copy(1, torch.tensor(shards, device=found.device), posterior)
    count = torch.tensor(len(outputs), dtype=torch.float64).log()
    return outputs.log_softmax(dim=2).logsumexp(dim=0) - float(count)
