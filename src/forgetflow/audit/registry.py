"""Audit measures: one file each, one registry line here; the key is the file's name."""

from forgetflow.audit.attacks import Attacks
from forgetflow.audit.confusion import Confusion
from forgetflow.audit.divergence import Divergence
from forgetflow.audit.inversion import Inversion
from forgetflow.audit.klom import Klom
from forgetflow.audit.lira import Lira
from forgetflow.audit.memorisation import Memorisation
from forgetflow.audit.performance import Performance
from forgetflow.audit.protocol import AuditMeasure
from forgetflow.audit.relearn import Relearn
from forgetflow.audit.ulira import Ulira
from forgetflow.audit.weights import Weights
from forgetflow.audit.zrf import Zrf

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
