"""Control: gradient ascent on the forget set, with nothing to protect the rest.

The opposite failure of doing nothing: the loss on forgotten records rises beyond that of a model
that never saw them, and the model may collapse (`GA` of Thudi et al. 2022 and of the tables of
Jia et al., NeurIPS 2023). A measure that likes it rewards damage.
"""

from collections.abc import Iterator

from forgetflow.config.unlearn import AscentSettings
from forgetflow.training.objective import CrossEntropy
from forgetflow.unlearning.case import Case
from forgetflow.unlearning.edit import method
from forgetflow.unlearning.fit import Fit, trained_as
from forgetflow.unlearning.view import Access


def edit(case: Case[AscentSettings]) -> Iterator[Fit]:
    """Ascend the cross-entropy of the forget set."""
    optimiser = trained_as(case.recipe, learning_rate=case.settings.learning_rate)
    yield Fit(CrossEntropy(weight=-1.0), case.forget, case.settings.epochs, optimiser)


ASCENT = method(
    "ascent",
    edit,
    settings=AscentSettings,
    needs=frozenset({Access.FORGET, Access.LABELS}),
)
