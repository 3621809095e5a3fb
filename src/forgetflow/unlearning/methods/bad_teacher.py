"""Bad teacher: predict like the parent on what is left, like an untrained network on the rest.

Chundawat et al., "Can Bad Teaching Induce Forgetting?" (AAAI 2023), Sec. 4: the student starts as
the parent and learns from the forget set and a share of the retain set which of two teachers to
imitate, one competent (the parent), one not (random weights). Labels are not looked at. The
divergence is the mean per record, not per record and class as in the authors' code: step sizes of
theirs are to be divided by the number of classes. What it forgets becomes nearly uniform, less sure
than a model that never saw it, which an attacker can tell.
"""

from collections.abc import Iterator

from torch import where

from forgetflow.config.unlearn import BadTeacherSettings
from forgetflow.unlearning.case import Case
from forgetflow.unlearning.edit import method
from forgetflow.unlearning.fit import Fit
from forgetflow.unlearning.objectives import Distillation
from forgetflow.unlearning.view import Access


def edit(case: Case[BadTeacherSettings]) -> Iterator[Fit]:
    """Distil both teachers into the student."""
    chosen = case.settings
    data = case.retain.share(chosen.retain_share) + case.forget
    good, bad = data.through(case.teacher()), data.through(case.fresh("bad teacher").eval())
    taught = data.with_targets(wanted=where(data.forgotten[:, None], bad, good))  # (n, C)
    objective = Distillation("wanted", chosen.temperature)
    yield Fit(objective, taught, chosen.epochs, chosen.optimiser)


BAD_TEACHER = method(
    "bad_teacher",
    edit,
    settings=BadTeacherSettings,
    needs=frozenset({Access.FORGET, Access.RETAIN}),
)
