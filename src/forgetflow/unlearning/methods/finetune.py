"""Control: train the affected constituents a little further on what is left.

Catastrophic forgetting is hoped for, nothing is promised; on random forget sets it barely moves
(Golatkar et al. 2020 and later use it as the weak baseline).
"""

from collections.abc import Iterator

from forgetflow.config.unlearn import FinetuneSettings
from forgetflow.training.objective import CrossEntropy
from forgetflow.unlearning.case import Case
from forgetflow.unlearning.edit import method
from forgetflow.unlearning.fit import Fit, trained_as
from forgetflow.unlearning.view import Access


def edit(case: Case[FinetuneSettings]) -> Iterator[Fit]:
    """Descend the cross-entropy of the retain set, with statistics that go along."""
    optimiser = trained_as(case.recipe, learning_rate=case.settings.learning_rate)
    yield Fit(CrossEntropy(), case.retain, case.settings.epochs, optimiser, statistics="moving")


FINETUNE = method(
    "finetune",
    edit,
    settings=FinetuneSettings,
    needs=frozenset({Access.RETAIN, Access.LABELS}),
)
