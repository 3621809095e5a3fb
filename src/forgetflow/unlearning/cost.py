"""What a deletion cost, read from the receipts of the states it made necessary.

Receipts are kept with the states, so the cost is the same whether the work ran now, ran
before a crash, or was found in the store.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from forgetflow.errors import VerdictError
from forgetflow.store.receipt import Receipt
from forgetflow.store.store import Store


@dataclass(frozen=True)
class Cost:
    """Cost of making a set of states.

    Attributes:
        seconds: wall seconds of computing, loading and saving apart.
        forward_samples: records passed forward through a network.
        backward_samples: records passed backward.
        peak_memory_bytes: largest peak of any job: of the GPU's allocator, or of the process.
        stored_bytes: size of the states written.
        states: number of states made.
        constituents: number of constituents touched.
    """

    seconds: float
    forward_samples: int
    backward_samples: int
    peak_memory_bytes: int
    stored_bytes: int
    states: int
    constituents: int


def cost_of(store: Store, keys: Iterable[str]) -> Cost:
    """Sum the cost of the states `keys`.

    Raises:
        VerdictError: a state has no receipt.
    """
    receipts: list[Receipt] = []
    for key in keys:
        receipt = store.receipt(key)
        if receipt is None:
            raise VerdictError(f"state {key[:12]} has no receipt: run `dvc repro` to rebuild it")
        receipts.append(receipt)
    facts = [receipt.facts for receipt in receipts]
    return Cost(
        seconds=sum(f["seconds"] for f in facts),
        forward_samples=sum(f.get("forward_samples", f["samples"]) for f in facts),
        backward_samples=sum(f.get("backward_samples", f["samples"]) for f in facts),
        peak_memory_bytes=max((f["peak_memory_bytes"] for f in facts), default=0),
        stored_bytes=sum(receipt.size for receipt in receipts),
        states=len(receipts),
        constituents=len({f["shard"] for f in facts}),
    )
