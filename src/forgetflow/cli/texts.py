"""What the verbs of the command line print for people."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from forgetflow.cli.console import MISSING, facts, percent, seconds, table

if TYPE_CHECKING:
    from forgetflow.partition.recommendation import Recommendation
    from forgetflow.requests.seal import SealResult
    from forgetflow.unlearning.plan import Plan
    from forgetflow.unlearning.verify import Verdict

SHOWN = 6
"""Affected shards, or bands of a layout, that are named; `--json` has all."""


def sealed(result: "SealResult") -> str:
    """Say what sealing did, request by request."""
    listed = outcomes(result)
    listed = f"{listed}\n" if listed else ""
    if result.manifest is None:
        done = f"{result.resumed} was completed" if result.resumed else "nothing to seal"
        return listed + done
    return (
        f"{listed}{result.batch} sealed: {len(result.manifest)} record(s), "
        f"due {result.manifest.due_at:%Y-%m-%d}\nNext: forgetflow forget {result.batch}"
    )


def outcomes(result: "SealResult") -> str:
    """List what became of every open request and of every file that the inbox could not take."""
    refused = [
        f"inbox/{name} was left where it is: {why}" for name, why in result.inbox.refused.items()
    ]
    rows = [[o.request_id, o.state, o.records, o.note] for o in result.outcomes]
    listed = [table(["request", "state", "records", "note"], rows)] if rows else []
    return "\n".join([*refused, *listed])


def plan(found: "Plan") -> str:
    """Show a forecast."""
    retrain, full = found.retrain_samples, found.full_samples
    share = f" ({percent(retrain / full)} of {full:,})" if retrain is not None and full else ""
    named = [f"shard {s} from slice {r}" for s, r in found.shards.items()]
    restarts = ", ".join([*named[:SHOWN], *(["..."] if len(named) > SHOWN else [])])
    affected = f"{len(found.shards)} of {found.total_shards}{f': {restarts}' if named else ''}"
    forget = f"{found.records} record(s) for {found.requests} request(s)"
    if found.learned < found.records:
        forget += f"; {found.learned} were selected and learned from"
        forget += "" if found.reselected else ", the others cost nothing"
    if found.reselected:
        forget += f"; {found.reselected} of those who stay are chosen anew or no longer"
    return facts(
        [
            ("batch", f"{found.batch} ({'sealed' if found.sealed else 'not sealed yet'})"),
            ("method", f"{found.method} ({found.guarantee})"),
            ("to forget", forget),
            ("due", f"{found.due_at:%Y-%m-%d} ({found.days_left} days left)"),
            ("must start by", _start(found)),
            ("affected shards", affected),
            ("to retrain", found.note or f"{retrain:,} record passes{share}"),
            *[
                (f"to prepare: {name}", f"{count:,} record passes, once for this model")
                for name, count in found.prepare_samples.items()
            ],
            ("estimated training", seconds(found.estimated_seconds)),
            ("full retraining", seconds(found.full_seconds)),
            ("stored objects that learned from them", found.objects_to_erase),
            *([] if found.sealed else [("waiting would save", _saving(found))]),
        ]
    )


def _start(found: "Plan") -> str:
    """Say until when one may wait."""
    days = found.wait_days
    wait = f"{days} day(s) to wait at most" if days else "no day left to wait"
    return f"{found.start_by:%Y-%m-%d} ({wait}, one full retraining in reserve)"


def _saving(found: "Plan") -> str | None:
    """Say what one joint batch would save over this one now and another later."""
    waiting = found.waiting
    if waiting is None or found.retrain_samples is None:
        return None
    apart = found.retrain_samples + waiting.later_samples
    time = seconds(waiting.saved_seconds)
    return (
        f"{waiting.saved_samples:,.0f} of {apart:,.0f} record passes"
        f"{f' ({time})' if time else ''} if {waiting.subjects} more ask, whoever they are"
    )


def layouts(found: "Recommendation") -> str:
    """Show what layouts cost, and the lines that params.yaml needs for the recommended one."""
    head = facts(
        [
            ("subjects", f"{found.subjects:,}"),
            ("expected deletions", f"{found.deletions:,.2f}"),
            ("full retraining", f"{found.full_retraining:,.0f} record passes"),
        ]
    )
    columns = [
        "layout",
        "bands",
        "shards per band",
        "records per shard",
        "deletions per shard",
        "passes one by one",
        "passes all at once",
    ]
    rows = []
    for option in found.options:
        own = option.layout
        sizes = [round(n / s) for n, s in zip(own.records, own.shards, strict=True)]
        rows.append(
            [
                option.rule,
                len(own.shards),
                _listed(own.shards, "d"),
                _span(sizes, ",d"),
                _span(own.deletions, ".3g"),
                f"{option.sequential:,.0f}",
                f"{option.batch:,.0f}",
            ]
        )
    return f"{head}\n\n{table(columns, rows)}\n\n{_advice(found)}"


def _advice(found: "Recommendation") -> str:
    best = found.best
    if best.rule == "params":
        return "Keep the layout of params.yaml: none of these expects markedly less retraining."
    bounds = list(best.layout.thresholds)
    shards = list(best.layout.shards) if bounds else []
    return (
        f"Recommended: {best.rule}. In params.yaml, before the original model is trained (a later\n"
        "change trains everything again), and never to be fitted anew when somebody has left:\n"
        f"  partition:\n    shard_thresholds: {bounds}\n    band_shards: {shards}"
    )


def _span(values: Sequence[float], spec: str) -> str:
    """Return the least and the greatest value."""
    ends = [format(one, spec) for one in (min(values), max(values))]
    return " to ".join(dict.fromkeys(ends))


def _listed(values: Sequence[float], spec: str) -> str:
    """Return the first few values, with a sign that there are more."""
    shown = ", ".join(format(one, spec) for one in values[:SHOWN])
    return f"{shown}, ..." if len(values) > SHOWN else shown


def verdict(verdict: "Verdict") -> str:
    """Show what a verification compared."""
    evidence = (
        f"{verdict.compared} constituents trained again from nothing: "
        + ("all byte-equal" if verdict.passed else f"{len(verdict.different)} differ")
        if verdict.compared
        else "no promise to rebuild: inputs, keys and file digests are as recorded"
    )
    return facts(
        [
            ("generation", verdict.generation),
            ("guarantee", verdict.guarantee),
            ("evidence", evidence),
            ("weights", verdict.weights),
            ("ledger", f"{verdict.ledger_entries} entries, chain intact"),
        ]
    )


def generation(row: dict[str, Any]) -> str:
    """Show the report's row of one generation."""
    retrained, full = row["records_retrained"], row["records_full_retraining"]
    passes = f"{retrained:,.0f} of {full:,.0f} record passes" if retrained is not None else None
    return facts(
        [
            ("generation", f"{row['generation']} from {row['parent']}"),
            ("method", f"{row['method']} ({row['guarantee']})"),
            ("forgotten", f"{row['forgotten_here']} record(s), {row['records']} left"),
            ("test accuracy", _beside(percent, row, "test_accuracy", "oracle")),
            ("forget accuracy", _beside(percent, row, "forget_accuracy", "oracle")),
            ("retrained", passes),
            ("audit", _audit(row)),
            ("training time", _beside(seconds, row, "seconds", "full_retraining")),
            ("gate", row["gate"]),
        ]
    )


def _audit(row: dict[str, Any]) -> str | None:
    """Return the headline of a generation's audit and where its page is."""
    if row["ulira"] is None:
        return None
    floor = row["ulira_second_oracle"]
    return (
        f"U-LiRA {row['ulira']:.3f} (second oracle {floor:.3f}, guessing 0.5); "
        f"audit/{row['generation']}/audit.html"
    )


def _beside(
    show: Callable[[float | None], str | None], row: dict[str, Any], column: str, other: str
) -> str:
    """Return a figure and, in brackets, the one it is compared with."""
    reference = show(row[f"{column}_{other}"]) or MISSING
    return f"{show(row[column]) or MISSING} ({other.replace('_', ' ')} {reference})"
