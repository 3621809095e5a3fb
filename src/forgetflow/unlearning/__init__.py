"""Unlearning methods: one file each, one registry line here.

A new method shows up in the command line, in DVC, in the report and in MLflow by itself.
"""

from forgetflow.errors import InputError
from forgetflow.unlearning.ascent import Ascent
from forgetflow.unlearning.finetune import Finetune
from forgetflow.unlearning.none import NoUnlearning
from forgetflow.unlearning.protocol import UnlearningMethod
from forgetflow.unlearning.retrain import Retrain
from forgetflow.unlearning.sisa import Sisa

METHODS: dict[str, UnlearningMethod] = {
    method.name: method for method in (Sisa(), Retrain(), NoUnlearning(), Finetune(), Ascent())
}


def method_named(name: str) -> UnlearningMethod:
    """Return a registered method.

    Raises:
        InputError: there is none of that name.
    """
    if name not in METHODS:
        raise InputError(f"unknown unlearning method '{name}'; known: {', '.join(METHODS)}")
    return METHODS[name]
