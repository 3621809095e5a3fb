"""What the verbs of the command line print for people."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from forgetflow.cli.console import facts, percent, seconds, table

if TYPE_CHECKING:
    from forgetflow.partition.recommendation import Recommendation
    from forgetflow.requests.overview import RequestLine
    from forgetflow.requests.seal import Outcome, SealResult
    from forgetflow.unlearning.plan import Plan
    from forgetflow.unlearning.verify import Verdict

SHOWN = 6
"""Affected shards, or bands of a layout, that are named; `--json` has all."""

LISTED = 20
"""Requests that a seal lists one by one; of more it prints a summary."""

UNBATCHED = {
    "received": "none: not resolved",
    "matched": "none yet: not sealed",
    "no_match": "none: selects no training record",
    "on_hold": "none while on hold",
}
"""Why a request is in no batch, by its state."""


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
    return "\n".join([*refused, *_requests(result.outcomes, result.batch)])


def _requests(outcomes: Sequence["Outcome"], batch: str | None) -> list[str]:
    if len(outcomes) > LISTED:
        counts = Counter(str(one.state) for one in outcomes)
        named = ", ".join(f"{count:,} {state}" for state, count in counts.most_common())
        return [f"{len(outcomes):,} requests: {named}; `forgetflow request list` shows each"]
    notes = {
        "sealed": f"in {batch}",
        "no_match": "selects no training record; looked at again at every seal",
    }
    rows = [
        [o.request_id, o.state, o.records, o.note or notes.get(o.state, "no reason given")]
        for o in outcomes
    ]
    return [table(["request", "state", "records", "note"], rows)] if rows else []


def request_lines(lines: Sequence["RequestLine"]) -> str:
    """List requests: state, batch or why they are in none, due date."""
    rows = []
    for line in lines:
        status, days = line.status, line.days_left
        rows.append(
            [
                line.request.request_id,
                status.state,
                len(status.record_ids),
                status.batch or UNBATCHED[status.state],
                f"{line.request.due_at:%Y-%m-%d}",
                days if days >= 0 else f"{-days} overdue",
                line.problem or status.reason or "",
            ]
        )
    return table(["request_id", "state", "records", "batch", "due", "days_left", "note"], rows)


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
            ("estimated training", _estimate(found)),
            ("full retraining", _full(found)),
            ("stored objects that learned from them", found.objects_to_erase),
            *([] if found.sealed else [("waiting would save", _saving(found))]),
        ]
    )


def _estimate(found: "Plan") -> str:
    """Say how long the training will take, or why nobody knows."""
    if found.estimated_seconds is not None:
        return seconds(found.estimated_seconds)
    if found.retrain_samples is None:
        return "no estimate: what there is to train cannot be foretold"
    return _NO_PACE


def _full(found: "Plan") -> str:
    return _NO_PACE if found.full_seconds is None else seconds(found.full_seconds)


_NO_PACE = "no estimate: nothing was trained here yet; run `dvc repro`"


def _start(found: "Plan") -> str:
    """Say until when one may wait."""
    days = found.wait_days
    wait = f"{days} day(s) to wait at most" if days else "no day left to wait"
    return f"{found.start_by:%Y-%m-%d} ({wait}, one full retraining in reserve)"


def _saving(found: "Plan") -> str:
    """Say what one joint batch would save over this one now and another later."""
    waiting = found.waiting
    if waiting is None:
        return f"not known: {found.waiting_note}"
    apart = (found.retrain_samples or 0) + waiting.later_samples
    time = "" if waiting.saved_seconds is None else f" ({seconds(waiting.saved_seconds)})"
    return (
        f"{waiting.saved_samples:,.0f} of {apart:,.0f} record passes{time} "
        f"if {waiting.subjects} more ask, whoever they are"
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
