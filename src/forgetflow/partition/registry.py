"""Who learns what: every record's shard and slice, as a pure function of the record alone.

One file a placement, one registry line here.
"""

from collections.abc import Callable

from forgetflow.config.partition import PartitionSettings
from forgetflow.keys.code import code_digest, module_of
from forgetflow.partition import arcane, monolith, sisa
from forgetflow.partition.assignment import Assignment
from forgetflow.records.record_set import RecordSet

PLACEMENTS: dict[str, Callable[[RecordSet, PartitionSettings, int], Assignment]] = {
    "monolith": monolith.place,
    "sisa": sisa.place,
    "arcane": arcane.place,
}


def code(method: str) -> str:
    """Return the digest of the code that decides a placement."""
    return code_digest(module_of(PLACEMENTS[method]))


def place(records: RecordSet, settings: PartitionSettings, seed: int) -> Assignment:
    """Place every record with the method that `settings.method` names."""
    return PLACEMENTS[settings.method](records, settings, seed)
