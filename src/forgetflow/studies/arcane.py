"""The study of ARCANE: one-class models per class, beside SISA and one joint model.

How do the share of selected records, the number of blocks and the sorting of blocks change
accuracy and the cost of deletions (Yan et al., "ARCANE: An Efficient Architecture for Exact
Machine Unlearning", IJCAI 2022, research questions 1 and 2)? Every saving stands beside that of
alpha = 1, and against retraining the same selected records too: learning from fewer records is
cheaper without any architecture.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from forgetflow.files.jsonable import to_json
from forgetflow.keys.digests import bytes_digest
from forgetflow.studies.arcane_builds import arcane_rows, head_settings, joint_settings, network_row
from forgetflow.studies.arcane_counts import priors_of
from forgetflow.studies.arcane_deletions import deletion_rows, order_rows, sisa_rows
from forgetflow.studies.arcane_grid import ArcaneGrid
from forgetflow.studies.protocol import Row, Study, StudyData, Trial


@dataclass(frozen=True)
class ArcaneStudy:
    """Results of the study; aggregates only.

    Attributes:
        grid: what was compared.
        facts: records and settings a reader needs to compare two studies.
        models: one row for every ensemble: accuracy, and what a build takes.
        deletions: one row for every ensemble, K, kind of requests and way they are served.
        orders: one row for every order of blocks, head, B and K.
    """

    grid: ArcaneGrid
    facts: Row
    models: list[Row]
    deletions: list[Row]
    orders: list[Row]

    @property
    def joint(self) -> Row:
        """The row of one model of all classes and records."""
        return next(row for row in self.models if row["model"] == "joint")


def trials(data: StudyData, grid: ArcaneGrid) -> list[Trial]:
    """Return a trial for every ensemble that is built, and for every count of deletions."""
    made_of = _ingredients(data, grid)
    classes = len(set(data.records.labels.tolist()))
    found = [
        Trial("network", f"network {s} x {r}", {"shards": s, "slices": r}, made_of)
        for s, r in [(1, 1), *((classes, blocks) for blocks in grid.blocks)]
    ]
    found += [
        Trial("arcane", f"{head}, {one.choice} {one.share}", {"head": head, **asdict(one)}, made_of)
        for head in grid.heads
        for one in grid.learned
    ]
    counts = [("deletions", f"deletions, {c.choice} {c.share}", asdict(c)) for c in grid.deleted]
    counts += [("sisa", "count sisa", {}), ("orders", "count orders", {})]
    return found + [Trial(*count, made_of, computes=False) for count in counts]


def _ingredients(data: StudyData, grid: ArcaneGrid) -> dict[str, Any]:
    """Return what decides every row of the study."""
    settings = data.settings
    own = [head_settings(settings, grid, head) for head in grid.heads]
    return {
        "records": data.records.digest,
        "priors": bytes_digest(data.records.priors.tobytes()),
        "test": data.test.digest,
        "recipes": [data.recipe_of(one).digest for one in (joint_settings(settings), *own)],
        "selection": settings.partition.selection.model_dump(mode="json"),
        "bounds": list(settings.partition.prior_thresholds),
        "grid": to_json(grid),
    }


def assemble(data: StudyData, grid: ArcaneGrid, found: Mapping[str, list[Any]]) -> ArcaneStudy:
    """Return the study."""
    settings = data.settings
    selection = settings.partition.selection
    facts = {
        **data.counts,
        **data.training,
        "classes": len(set(data.records.labels.tolist())),
        "model": joint_settings(settings).model.relevant(),
        "gaussian": settings.model.gaussian.model_dump(mode="json"),
        "bins": f"{selection.bins} from {selection.low:g} to {selection.high:g}",
        "sorted_by": priors_of(data.records, settings.run.seed)[1],
    }
    return ArcaneStudy(
        grid,
        facts,
        [*found["network"], *chain.from_iterable(found["arcane"])],
        list(chain.from_iterable([*found["deletions"], *found["sisa"]])),
        found["orders"][0],
    )


def metrics(found: ArcaneStudy) -> dict[str, float]:
    """Return accuracies of all ensembles, and speed-ups of uniform batches."""
    named = {f"{_name(row)}.accuracy": row["accuracy"] for row in found.models}
    for row in found.deletions:
        if (row["kind"], row["mode"]) == ("uniform", "batch") and row["speedup"]:
            named[f"{_name(row)}.K{row['requests']}.speedup"] = row["speedup"]
    return named


def _name(row: Row) -> str:
    return f"{row['model']}.{row['selection']}{row['share']:g}.B{row['blocks']}"


def note(found: ArcaneStudy) -> str:
    """Say in a sentence what was compared."""
    return (
        f"ARCANE beside SISA and a joint model: {len(found.models)} ensembles, "
        f"{found.grid.seeds} builds each."
    )


ARCANE = Study(
    name="arcane",
    grid=ArcaneGrid,
    results=ArcaneStudy,
    measures={
        "network": network_row,
        "arcane": arcane_rows,
        "deletions": deletion_rows,
        "sisa": sisa_rows,
        "orders": order_rows,
    },
    trials=trials,
    assemble=assemble,
    tables={"models.csv": "models", "deletions.csv": "deletions", "orders.csv": "orders"},
    metrics=metrics,
    note=note,
)
