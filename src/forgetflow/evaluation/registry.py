"""Measures: one file each, one registry line here.

A new measure shows up in `metrics.json`, in DVC and in the report by itself.
"""

from forgetflow.evaluation.accuracy import Accuracy
from forgetflow.evaluation.constituents import Constituents
from forgetflow.evaluation.distance import Distance
from forgetflow.evaluation.loss import Loss
from forgetflow.evaluation.membership import Membership
from forgetflow.evaluation.protocol import Measure

MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (Accuracy(), Constituents(), Membership(), Loss(), Distance())
}
