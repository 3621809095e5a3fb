"""Selective synaptic dampening: shrink the weights that matter more to the forget set than to all.

Foster, Schoepf and Brintrup, "Fast Machine Unlearning without Retraining through Selective Synaptic
Dampening" (AAAI 2024), Eq. 5 and 6. With importances I (mean squared gradients of a record's
cross-entropy) of everything D it learned from and of the forget set F, each weight with

    I_F > alpha I_D    becomes    min(lambda I_D / I_F, 1) times itself.

Nothing is trained. The importances of D are a preparation: computed once, before anybody asks.
"""

import torch

from forgetflow.config.unlearn import SsdSettings
from forgetflow.unlearning.case import Case
from forgetflow.unlearning.edit import method
from forgetflow.unlearning.preparations.importances import IMPORTANCES, importances
from forgetflow.unlearning.view import Access


@torch.no_grad()
def edit(case: Case[SsdSettings]) -> None:
    """Dampen the weights of the student that the forget set leans on."""
    everything = case.prepared(IMPORTANCES.name)
    forgotten = importances(case.student, case.forget, case.meter)
    for name, weight in case.student.named_parameters():
        ours, theirs = forgotten[name], everything[name].to(weight.device)
        selected = ours > case.settings.selection * theirs
        factor = (case.settings.dampening * theirs / ours).clamp(max=1.0)
        weight.copy_(torch.where(selected, factor * weight, weight))


SSD = method(
    "ssd",
    edit,
    settings=SsdSettings,
    needs=frozenset({Access.FORGET, Access.LABELS}),
    prepares=(IMPORTANCES,),
)
