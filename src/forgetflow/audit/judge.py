"""From a deletion and its pools to an audit: who contends, what decides the result, the judgement.

comparison ──► contenders ──► procedures ──► (trained) ──► judge ──► Audit
"""

from collections.abc import Mapping, Sequence
from typing import Any

from forgetflow.audit.audit import Audit, audit, code
from forgetflow.audit.context import CONTROLS, FLOOR, ORACLE, ORIGINAL, SETS, AuditContext
from forgetflow.config.evaluate import AuditSettings
from forgetflow.config.settings import Settings
from forgetflow.errors import VerdictError
from forgetflow.keys.digests import digest_of
from forgetflow.pools.comparison import PARENT, Comparison
from forgetflow.pools.member import member_seed
from forgetflow.pools.pool import Untrained
from forgetflow.pools.presupposed import presupposed
from forgetflow.pools.procedure import Procedure
from forgetflow.records.record_set import RecordSet
from forgetflow.training import environment
from forgetflow.unlearning.registry import method_named

TEACHERS = 4
"""Untrained networks that ZRF compares with."""


def no_audit(sizes: Mapping[str, float], settings: AuditSettings) -> str | None:
    """Return why sets of these sizes cannot be audited, or None.

    Args:
        sizes: number of records of each of `SETS`.
        settings: pool size, and how many forgotten records figures need to say anything.
    """
    if not settings.members:
        return "no audit: evaluate.audit.members is 0"
    if sizes["forget"] < settings.min_records:
        few = f"{sizes['forget']} forgotten records"
        return f"no audit: {few} are fewer than evaluate.audit.min_records"
    empty = [name for name in SETS if not sizes[name]]
    if empty:
        return f"no audit: there are no {' and no '.join(empty)} records"
    return None


def contenders(settings: Settings, methods: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return who contends: both oracles, `methods` and the controls; and who is left out, and why.

    Args:
        settings: of the project.
        methods: names of unlearning methods; controls among them are not listed twice.
    """
    family, architecture = settings.model.family, settings.model.architecture
    fit = [c for c in CONTROLS if c == ORIGINAL or family in method_named(c).families]
    named = list(dict.fromkeys((ORACLE, FLOOR, *methods, *fit)))
    others = [c for c in CONTROLS if c not in fit]
    if not others:
        return named, []
    which = f"The control{'s' if len(others) > 1 else ''} {' and '.join(others)}"
    verb = "are" if len(others) > 1 else "is"
    return named, [
        f"{which} {verb} left out: {architecture} models are not trained step by step on one "
        "loss over all classes, so there is nothing to go on with"
    ]


def procedures_of(
    comparison: Comparison, names: Sequence[str], members: int
) -> dict[str, Procedure]:
    """Return contender -> how its members come about, those that others start from first.

    Raises:
        InputError: there is no such method, or the deletion is not for it.
    """
    found = {name: comparison.procedure(name, members) for name in names}
    return dict(sorted(found.items(), key=lambda pair: pair[1].depth))


def train_pools(procedures: Mapping[str, Procedure]) -> dict[str, str]:
    """Make every missing member here, one pool after another.

    Returns:
        Control -> why its pool cannot be had.

    Raises:
        VerdictError: a member of another contender diverged.
    """
    absent: dict[str, str] = {}
    for name, procedure in procedures.items():
        try:
            procedure.train()
        except VerdictError as error:
            if name not in CONTROLS:
                raise
            absent[name] = str(error)
    return absent


def key_of(
    comparison: Comparison,
    procedures: Mapping[str, Procedure],
    test: RecordSet,
    settings: AuditSettings,
    absent: Mapping[str, str],
    notes: Sequence[str],
) -> str:
    """Return the digest of everything that decides what `judge` returns."""
    space = comparison.space
    return digest_of(
        {
            "deletion": comparison.batch,
            "procedures": {name: one.digest for name, one in sorted(procedures.items())},
            "absent": dict(absent),
            "notes": list(notes),
            "retain": space.records.take(comparison.retain).digest,
            "forget": space.records.take(comparison.forget).digest,
            "test": test.digest,
            "settings": settings.model_dump(mode="json"),
            "aggregation": space.settings.aggregation,
            "teachers": TEACHERS,
            "seed": space.settings.run.seed,
            "code": code(),
        }
    )


def judge(
    comparison: Comparison,
    procedures: Mapping[str, Procedure],
    test: RecordSet,
    settings: AuditSettings,
    absent: Mapping[str, str],
    notes: Sequence[str],
) -> Audit:
    """Judge procedures whose pools are trained.

    Args:
        comparison: the deletion.
        procedures: by contender, in listing order; those of `absent` are not among them.
        test: the test set.
        settings: what the measures need.
        absent: control -> why its pool cannot be had.
        notes: sentences on what was left out.

    Raises:
        VerdictError: a member is not in the store.
    """
    space = comparison.space
    seeds = [member_seed(space.settings.run.seed, "untrained", n) for n in range(TEACHERS)]
    # One object for equal pools (the original and the parent of a first batch): one prediction.
    shared = {tuple(procedure.keys): procedure.pool() for procedure in procedures.values()}
    pools = {name: shared[tuple(procedure.keys)] for name, procedure in procedures.items()}
    context = AuditContext(
        pools,
        {
            "retain": space.records.take(comparison.retain),
            "forget": space.records.take(comparison.forget),
            "test": test,
        },
        Untrained(space.recipe, seeds),
        settings,
        space.settings.run.seed,
    )
    costs = {name: _mean_cost(pool.facts) for name, pool in pools.items()}
    costs = {n: _sum(cost, presupposed(comparison, n, cost["bytes"])) for n, cost in costs.items()}
    # Its members are those of the generation before, and so is what they cost.
    costs[PARENT] = {**costs[PARENT], "seconds": 0.0, "samples": 0.0, "steps": 0.0}
    facts = {
        "model": space.settings.model.model_dump(mode="json"),
        "train": space.settings.train.model_dump(mode="json"),
        "partition": space.settings.partition.model_dump(mode="json"),
        "unlearn": space.settings.unlearn.model_dump(mode="json"),
        "audit": settings.model_dump(mode="json"),
        "environment": environment.fingerprint(space.recipe.device),
    }
    return audit(context, comparison.batch, costs, facts, absent, notes)


def _mean_cost(facts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    names = ("seconds", "samples", "steps", "bytes", "prepared_samples", "prepared_bytes")
    return {name: sum(float(one[name]) for one in facts) / len(facts) for name in names}


def _sum(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Return both costs together."""
    return {name: one.get(name, 0.0) + other.get(name, 0.0) for name in {**one, **other}}
