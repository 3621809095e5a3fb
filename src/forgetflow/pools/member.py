"""A member of a pool: its seed, and all its weights as one object in the store."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from forgetflow.keys.digests import digest_of, keyed_hash
from forgetflow.store.receipt import Receipt
from forgetflow.store.store import Store
from forgetflow.training.sequential import weights_of

LEARNED_FROM = "constituents_learned_from"
"""Fact of a member: shard -> digests of the record sets that influenced that constituent."""


def member_seed(run_seed: int, role: str, number: int) -> int:
    """Return the seed of member `number` of a pool; pools of different roles share none.

    Args:
        run_seed: seed of the project.
        role: e.g. `oracle`; contenders that are judged share the role `subject`, because an
            unlearned model and the original it came from have the same seed.
        number: 0 to M - 1.
    """
    return keyed_hash(run_seed, "pool", role, number) >> 1  # fits a signed 64-bit integer


def member_key(way: str, constituents: Mapping[int, str]) -> str:
    """Return the store key of a member.

    Args:
        way: how it came about. Exact methods end in the very weights of a build, but not at its
            cost, and what a member cost is kept with it.
        constituents: shard -> content key.
    """
    return digest_of(["member", way, sorted(constituents.items())])


def put_member(
    store: Store,
    source: Store,
    key: str,
    constituents: Mapping[int, str],
    facts: Mapping[str, Any],
) -> Receipt:
    """Store the constituents that `source` holds as one member under `key`."""
    tensors: dict[str, Tensor] = {}
    sets: dict[str, list[str]] = {}
    for shard, made in sorted(constituents.items()):
        for name, tensor in weights_of(source.require(made)).items():
            tensors[f"{shard}/{name}"] = tensor
        receipt = source.receipt(made)
        sets[str(shard)] = list(receipt.learned_from) if receipt else []
    learned_from = sorted({name for names in sets.values() for name in names})
    for name in learned_from:
        if source.knows(name):
            store.put_members(source.members(name))
    return store.put(
        key,
        tensors,
        kind="member",
        learned_from=learned_from,
        facts={**facts, LEARNED_FROM: sets},
    )


def learned_from_of(receipt: Receipt | None) -> dict[int, tuple[str, ...]]:
    """Return shard -> digests of the record sets that a member's constituent learned from."""
    sets = receipt.facts[LEARNED_FROM] if receipt else {}
    return {int(shard): tuple(names) for shard, names in sets.items()}


def read_member(store: Store, key: str) -> dict[int, dict[str, Tensor]]:
    """Return the weights of a member's constituents, shard -> name -> tensor.

    Raises:
        VerdictError: the member is missing or damaged.
    """
    found: dict[int, dict[str, Tensor]] = {}
    for path, tensor in store.require(key).items():
        shard, name = path.split("/", 1)
        found.setdefault(int(shard), {})[name] = tensor
    return found
