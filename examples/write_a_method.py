"""Write an unlearning method in a file of your own, and use it like those that come along.

    python examples/write_a_method.py

The method relabels the forget set with a class each record is not of, and trains a little on it
(random labels: Golatkar et al. 2020). It is held to what it declares: reading anything else is
an error.
"""

import tempfile
from collections.abc import Iterator

import torch

import forgetflow
from forgetflow.config.base import Block
from forgetflow.config.optimiser import OptimiserSettings
from forgetflow.training.objective import Batch, Forward
from forgetflow.unlearning.case import Case
from forgetflow.unlearning.edit import method
from forgetflow.unlearning.fit import Fit
from forgetflow.unlearning.registry import register
from forgetflow.unlearning.view import Access


class WrongLabels(Block):
    """Settings, with what they are unless somebody says otherwise."""

    epochs: float = 3.0
    optimiser: OptimiserSettings = OptimiserSettings(learning_rate=0.01)


def towards_targets(student: Forward, batch: Batch) -> torch.Tensor:
    """The cross-entropy of the labels that stand in the batch's targets."""
    return torch.nn.functional.cross_entropy(student(batch.inputs), batch.targets["wrong"])


def edit(case: Case[WrongLabels]) -> Iterator[Fit]:
    """Draw a wrong label for every record of the forget set, and train on it."""
    forget, classes = case.forget, case.recipe.classes
    away = torch.randint(1, classes, (len(forget),), generator=case.draws("labels"))
    wrong = (forget.labels + away.to(forget.labels.device)) % classes
    chosen = case.settings
    yield Fit(towards_targets, forget.with_targets(wrong=wrong), chosen.epochs, chosen.optimiser)


register(
    method(
        "wrong_labels",
        edit,
        settings=WrongLabels,
        needs=frozenset({Access.FORGET, Access.LABELS}),
    )
)

pipeline = forgetflow.Pipeline.create(
    f"{tempfile.mkdtemp()}/digits", partition={"method": "monolith"}, train={"epochs": 15}
)
pipeline.build()
pipeline.request(where='label == "8" and record_id < "digit-0600"')
batch = pipeline.seal(method="wrong_labels")
card = pipeline.forget(batch)
print(f"{batch}: {card.forgotten} records, {card.method}, {card.guarantee.value}")

eights = pipeline.records.take(pipeline.records.labels == 8)
for name in ("original", batch):
    right = (pipeline.model(name).predict(eights.inputs) == eights.labels).mean()
    print(f"{name:10} accuracy on the eights {right:.3f}")
