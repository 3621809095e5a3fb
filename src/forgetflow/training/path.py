"""Where the path of training is kept: an object in the store beside each slice's state."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from forgetflow.keys.digests import digest_of
from forgetflow.store.store import Store
from forgetflow.training.chain import Chain

Weights = Mapping[str, Tensor]
"""Name -> tensor of a network, running statistics included."""


def log_key(state: str) -> str:
    """Return the key of the path that ends in a slice's state."""
    return digest_of(["log", state])


def put_log(store: Store, chain: Chain, number: int, passed: Sequence[Weights]) -> None:
    """Keep the weights before each step of a slice.

    Args:
        store: where.
        chain: whose slice.
        number: which.
        passed: T mappings.
    """
    names = passed[0] if passed else {}
    store.put(
        log_key(chain.keys[number]),
        {name: torch.stack([weights[name] for weights in passed]) for name in names},
        kind="log",
        learned_from=chain.slice_digests[: number + 1],
        facts={"shard": chain.shard, "slice": number, "steps": len(passed)},
    )
