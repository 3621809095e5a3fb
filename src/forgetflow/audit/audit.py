"""Run every audit measure on the pools of one deletion, and keep the result as plain files.

    audit.json    everything below in one file
    audit.csv     one row per estimate
    *.csv         tables for plots

Everything is an aggregate over records and members; no file holds an id, a feature or a value of
one record.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from forgetflow.audit.context import FLOOR, ORACLE, AuditContext
from forgetflow.audit.controls import Control, check_controls
from forgetflow.audit.protocol import Estimate
from forgetflow.audit.registry import AUDITS
from forgetflow.audit.remarks import remarks
from forgetflow.errors import InputError
from forgetflow.files.atomic import write_folder
from forgetflow.files.formats import Row, csv_bytes, json_bytes
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.keys.code import code_digest, module_of

FILE = "audit.json"


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        batch: the deletion.
        members: contender -> number of models.
        records: retain, forget, test -> number of records.
        estimates: of all measures; in JSON `figures`.
        controls: whether the controls behave.
        tables: file name -> rows.
        costs: contender -> mean cost of a member: `seconds`, `samples`, `steps`, `passes` over
            the retain set, `bytes`, its samples as a share of an oracle's (`of_retrain`), and
            what it presupposes: `prepared_samples`, `prepared_bytes`, `tuning_seconds`.
        facts: settings and environment that a reader needs to compare audits.
        notes: sentences on what a reader must know of the estimates, and what was left out.
    """

    batch: str
    members: Mapping[str, int]
    records: Mapping[str, int]
    estimates: Annotated[Sequence[Estimate], Field(alias="figures")]
    controls: Sequence[Control]
    tables: Mapping[str, Sequence[Row]]
    costs: Mapping[str, Mapping[str, float]]
    facts: Mapping[str, Any]
    notes: Sequence[str] = ()

    def estimate(self, measure: str, contender: str, name: str, statistic: str) -> Estimate | None:
        """Return one estimate, or None if it was not measured."""
        wanted = (measure, contender, name, statistic)
        return next(
            (f for f in self.estimates if (f.measure, f.contender, f.set, f.statistic) == wanted),
            None,
        )

    def floor(self, estimate: Estimate) -> Estimate | None:
        """Return the second oracle's estimate beside an estimate."""
        return self.estimate(estimate.measure, FLOOR, estimate.set, estimate.statistic)

    @property
    def misbehaving(self) -> list[Control]:
        """Controls that misbehave: nothing in this audit can be relied on while there is one."""
        return [control for control in self.controls if control.outcome == "misbehaves"]

    @property
    def powerless(self) -> bool:
        """Whether doing nothing cannot be told from retraining."""
        return any(control.outcome == "no power" for control in self.controls)


def code() -> str:
    """Return the digest of the code that decides an audit of given members."""
    return code_digest(__name__, "forgetflow.pools.pool", *map(module_of, AUDITS.values()))


def audit(
    context: AuditContext,
    batch: str,
    costs: Mapping[str, Mapping[str, float]],
    facts: Mapping[str, Any],
    absent: Mapping[str, str],
    notes: Sequence[str] = (),
) -> Audit:
    """Run all registered measures.

    Args:
        context: contenders, sets and settings.
        batch: the deletion.
        costs: contender -> mean cost of a member (`seconds`, `samples`, `steps`, `bytes`).
        facts: what a reader needs to compare audits.
        absent: control that could not be made -> why; all but ascent then misbehave.
        notes: sentences on what was left out of the audit.
    """
    estimates: list[Estimate] = []
    tables: dict[str, Sequence[Row]] = {}
    for measure in AUDITS.values():
        found = measure.estimates(context)
        estimates += [estimate.within(measure.ranges[estimate.statistic]) for estimate in found]
        tables |= {name: rows for name, rows in measure.tables(context).items() if rows}
    return Audit(
        batch,
        {name: context.members(name) for name in context.contenders},
        {name: len(records) for name, records in context.sets.items()},
        estimates,
        [
            *check_controls(context, estimates),
            # Ascent may blow up: it is there to do damage.
            *(
                Control(name, "behaves" if name == "ascent" else "misbehaves", why)
                for name, why in absent.items()
            ),
        ],
        tables,
        _relative(costs, len(context.sets["retain"])),
        facts,
        [*notes, *remarks(context)],
    )


def write_no_audit(folder: Path, reason: str) -> None:
    """Note that no audit was made, and why: the folder is an output of the pipeline."""
    write_folder(folder, [(FILE, json_bytes({"reason": reason}))])


def audit_files(result: Audit) -> dict[str, bytes]:
    """Return file name -> content of an audit, without its page."""
    rows: list[Row] = [asdict(estimate) for estimate in result.estimates]
    files = {FILE: json_bytes(to_json(result)), "audit.csv": csv_bytes(rows)}
    return files | {name: csv_bytes(rows) for name, rows in result.tables.items()}


def read_audit(folder: Path) -> Audit | None:
    """Read the audit in an evaluation folder; None where none was made.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes())
        return None if "reason" in found else from_json(Audit, found)
    except (ValueError, TypeError):
        raise InputError(f"{path} is damaged: run `dvc repro` to write it again") from None


def _relative(costs: Mapping[str, Mapping[str, float]], retain: int) -> dict[str, dict[str, float]]:
    """Add passes over the retain set, and samples as a share of an oracle's."""
    oracle = costs.get(ORACLE, {}).get("samples", 0.0)
    return {
        name: {
            **cost,
            "passes": cost["samples"] / retain,
            "of_retrain": cost["samples"] / oracle if oracle else 0.0,
        }
        for name, cost in costs.items()
    }
