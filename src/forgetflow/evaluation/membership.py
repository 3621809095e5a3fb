"""Loss-based membership inference: can an attacker tell forgotten records from unseen ones?

Forget records are paired with test records of the same class (as many as there are of both, drawn
by digest), so a difference in class mix cannot be mistaken for memory. The attacker sees the
losses of both halves:

- `auc` is the chance that a forget record has the lower loss of a pair, ties half
  (Mann & Whitney 1947). Above 0.5 the model still remembers; *below* 0.5 it treats forgotten
  records worse than unseen ones, which gives them away just as well.
- `attack_accuracy` is that of the best single loss threshold, in either direction, chosen on all
  folds but one and counted on that one; 0.5 is guessing.

Neither is good or bad in itself: forget sets differ from test sets by chance and by kind. The
value to aim for is the oracle's, so `gap_to_oracle` = auc - oracle's auc and its sign is kept.

Sources: loss threshold attack, Yeom et al., CSF 2018; use against a retrained reference, Kurmanji
et al. (SCRUB), NeurIPS 2023. It averages over records and is weaker than per-record attacks with
shadow models; a small gap is evidence, not proof.
"""

from collections.abc import Mapping
from math import sqrt
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from forgetflow.evaluation.auc import auc
from forgetflow.evaluation.context import MAX_LOSS, EvaluationContext
from forgetflow.evaluation.protocol import SMALLEST_GROUP
from forgetflow.files.formats import Row
from forgetflow.keys.digests import canonical_order, keyed_hash, keyed_order
from forgetflow.records.record_set import RecordSet

ATTACKED = ("unlearned", "parent", "oracle")

Losses = NDArray[np.float64]


class Membership:
    """The attack on the unlearned model, its parent and the oracle."""

    name: ClassVar[str] = "membership"

    def measure(self, context: EvaluationContext) -> dict[str, Any]:
        """Return the attack's metrics per model.

        Returns:
            `pairs` (records on either side), `auc_deviation` (standard deviation of the AUC of
            a model that knows nothing), and model -> `auc`, `attack_accuracy`, `gap_to_oracle`.
        """
        missing = _missing(context)
        if missing:
            return {**dict.fromkeys(ATTACKED), "reason": missing}
        forget, test = matched(
            context.sets["forget"], context.sets["test"], context.settings.run.seed
        )
        if len(forget) < SMALLEST_GROUP:
            reason = (
                f"only {len(forget)} forgotten record(s) have a test record of the same class; "
                f"{SMALLEST_GROUP} are the least to say anything"
            )
            return {**dict.fromkeys(ATTACKED), "reason": reason}
        folds = context.settings.evaluate.attack_folds
        models = {
            model: _attack(
                context.losses(model, "forget")[forget], context.losses(model, "test")[test], folds
            )
            for model in ATTACKED
            if model in context.models
        }
        for model, metrics in models.items():
            if model != "oracle":
                metrics["gap_to_oracle"] = metrics["auc"] - models["oracle"]["auc"]
        pairs = len(forget)
        return {"pairs": pairs, "auc_deviation": auc_deviation(pairs, pairs), **models}

    def tables(self, context: EvaluationContext) -> Mapping[str, list[Row]]:  # noqa: ARG002
        """No table: the loss histogram shows what the attack sees."""
        return {}


def matched(
    forget: RecordSet, test: RecordSet, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return positions in both sets, (n,) each, with the same class at every place.

    Which records are drawn where a class has more on one side depends on (seed, digests) alone.
    """
    mine, theirs = [], []
    for label in np.unique(forget.labels):
        left, right = _drawn(forget, label, seed), _drawn(test, label, seed)
        count = min(len(left), len(right))
        mine.append(left[:count])
        theirs.append(right[:count])
    if not mine:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    return np.concatenate(mine), np.concatenate(theirs)


def auc_deviation(forget: int, test: int) -> float:
    """Return the standard deviation of the AUC when both halves are alike.

    sqrt((m + n + 1) / (12 m n)) (Mann & Whitney 1947; without ties).
    """
    return sqrt((forget + test + 1) / (12 * forget * test))


def attack_accuracy(forget: Losses, test: Losses, folds: int) -> float:
    """Return the cross-validated accuracy of the best single threshold, (n,) against (n,).

    Pair i belongs to fold i mod `folds`, so every fold is balanced.
    """
    fold = np.arange(len(forget)) % folds
    hits = 0
    for number in range(folds):
        held = fold == number
        threshold, low_is_member = _best_threshold(forget[~held], test[~held])
        hits += int(((forget[held] <= threshold) == low_is_member).sum())
        hits += int(((test[held] <= threshold) != low_is_member).sum())
    return hits / (2 * len(forget))


def _best_threshold(forget: Losses, test: Losses) -> tuple[float, bool]:
    """Return the threshold of highest accuracy, and whether losses up to it mean `member`."""
    values = np.unique(np.concatenate([forget, test]))
    candidates = np.append((values[1:] + values[:-1]) / 2, np.inf)
    below = np.searchsorted(np.sort(forget), candidates, side="right") / len(forget)
    false = np.searchsorted(np.sort(test), candidates, side="right") / len(test)
    advantage = below - false
    best = int(np.abs(advantage).argmax())
    return float(candidates[best]), bool(advantage[best] >= 0)


def _attack(forget: Losses, test: Losses, folds: int) -> dict[str, Any]:
    forget, test = (np.clip(side, -MAX_LOSS, MAX_LOSS) for side in (forget, test))
    metrics: dict[str, Any] = {"auc": auc(forget, test)}
    if len(forget) < folds:
        metrics["attack_accuracy"] = None
        metrics["reason"] = f"{len(forget)} pair(s) are too few for {folds} folds"
    else:
        metrics["attack_accuracy"] = attack_accuracy(forget, test, folds)
    return metrics


def _drawn(records: RecordSet, label: int, seed: int) -> NDArray[np.intp]:
    where = np.flatnonzero(records.labels == label)
    where = where[canonical_order(records.digests[where])]
    return where[keyed_order(records.digests[where], keyed_hash(seed, "membership"))]


def _missing(context: EvaluationContext) -> str | None:
    if not context.size("forget"):
        return "no forget set: nothing was forgotten here"
    if not context.size("test"):
        return "no test set to compare the forget set with"
    if "oracle" not in context.models:
        return "no oracle: without a retrained model the attack's metrics say nothing"
    return None
