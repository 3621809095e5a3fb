"""Attribution: how much each training record moves each query, as train x query scores.

records kept, test records ─► task.build ─► Task ─► attributor ─► Scores ─► scores.safetensors
summary.json
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from forgetflow.attribution.registry import ATTRIBUTORS
from forgetflow.attribution.scores import Scores, Summary
from forgetflow.attribution.task import build
from forgetflow.config.attribution import AttributionSettings
from forgetflow.errors import VerdictError
from forgetflow.keys.code import code_digest, module_of
from forgetflow.records.record_set import RecordSet
from forgetflow.training.ensemble import Ensemble
from forgetflow.training.workspace import Mask, Workspace


def code(method: str) -> str:
    """Return the digest of the code that decides the scores of an attributor."""
    return code_digest(__name__, module_of(ATTRIBUTORS[method]))


def attribute(
    workspace: Workspace,
    ensemble: Ensemble,
    keep: Mask,
    test: RecordSet,
    settings: AttributionSettings,
) -> Scores:
    """Score every record a model generation learned from against a sample of test records.

    Calls nothing random: within one numeric environment the same model, records and settings
    give the same bytes, whatever the order of the records.

    Args:
        workspace: training records and their placement.
        ensemble: the model generation, loaded.
        keep: bool, one per record of the workspace: what the generation learned from.
        test: test records of the same schema; `settings.queries` of them become queries.
        settings: the `attribution` block.

    Returns:
        Scores of N kept records and Q queries, both in canonical digest order.

    Raises:
        InputError: the model has no constituent left or fewer than two classes, or the test
            records are none or of another schema.
        VerdictError: the kept records are not those the model learned from, or a score is not
            a finite number.
    """
    attributor = ATTRIBUTORS[workspace.settings.attribution_method]
    task = build(workspace, ensemble, keep, test, settings.queries, attributor.sources)
    if attributor.name == "none":
        nobody = np.zeros(len(task.train), bool)
        nothing = np.zeros(len(task.queries), bool)
        task = replace(task, train=task.train.take(nobody), queries=task.queries.take(nothing))
    prepared = attributor.prepare(task, settings)
    own_class = np.array(task.queries.labels)[:, None]  # (Q, 1), a copy that torch may take
    values = attributor.scores(task, own_class, prepared, settings)[:, :, 0]  # (N, Q)
    if not np.isfinite(values).all():
        raise VerdictError(
            f"model {ensemble.card.generation} has scores that are not finite: its training "
            "diverged; lower train.learning_rate and build it again"
        )
    own = task.train.labels[:, None] == task.queries.labels
    return Scores(
        train_digests=task.train.digests,
        query_digests=task.queries.digests,
        values=values,
        summary=Summary(
            engine=attributor.name,
            settings=settings.model_dump(mode="json"),
            generation=ensemble.card.generation,
            model=ensemble.card.digest,
            constituents=len(ensemble.networks),
            train_records=len(task.train),
            train_digest=task.train.digest,
            queries=len(task.queries),
            queries_digest=task.queries.digest,
            share_positive=float((values > 0).mean()) if values.size else None,
            mean_own_class=_mean(values, own),
            mean_other_classes=_mean(values, ~own),
            mean_abs_own_class=_mean(np.abs(values), own),
            mean_abs_other_classes=_mean(np.abs(values), ~own),
        ),
    )


def _mean(values: NDArray[np.float32], where: NDArray[np.bool_]) -> float | None:
    return float(values.mean(where=where, dtype=np.float64)) if where.any() else None
