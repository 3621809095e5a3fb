"""Audit measures: one file each, one registry line here; the key is the file's name."""

from forgetflow.evaluation.audit.attacks import Attacks
from forgetflow.evaluation.audit.confusion import Confusion
from forgetflow.evaluation.audit.divergence import Divergence
from forgetflow.evaluation.audit.inversion import Inversion
from forgetflow.evaluation.audit.klom import Klom
from forgetflow.evaluation.audit.lira import Lira
from forgetflow.evaluation.audit.memorisation import Memorisation
from forgetflow.evaluation.audit.performance import Performance
from forgetflow.evaluation.audit.protocol import AuditMeasure
from forgetflow.evaluation.audit.relearn import Relearn
from forgetflow.evaluation.audit.ulira import Ulira
from forgetflow.evaluation.audit.weights import Weights
from forgetflow.evaluation.audit.zrf import Zrf

AUDITS: dict[str, AuditMeasure] = {
    measure.name: measure
    for measure in (
        Performance(),
        Klom(),
        Ulira(),
        Divergence(),
        Attacks(),
        Lira(),
        Relearn(),
        Memorisation(),
        Confusion(),
        Zrf(),
        Inversion(),
        Weights(),
    )
}
