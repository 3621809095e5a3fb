"""Unlearning methods: one file each in `methods`, one line here.

A new method shows up in the command line, in DVC, in the report and in MLflow by itself.
"""

from forgetflow.config.settings import Settings
from forgetflow.errors import InputError
from forgetflow.unlearning.methods.ascent import ASCENT
from forgetflow.unlearning.methods.bad_teacher import BAD_TEACHER
from forgetflow.unlearning.methods.dare import Dare
from forgetflow.unlearning.methods.finetune import FINETUNE
from forgetflow.unlearning.methods.none import NoUnlearning
from forgetflow.unlearning.methods.retrain import Retrain
from forgetflow.unlearning.methods.sisa import Sisa
from forgetflow.unlearning.methods.ssd import SSD
from forgetflow.unlearning.protocol import UnlearningMethod

METHODS: dict[str, UnlearningMethod] = {
    method.name: method
    for method in (
        Sisa(),
        Dare(),
        Retrain(),
        NoUnlearning(),
        FINETUNE,
        ASCENT,
        BAD_TEACHER,
        SSD,
    )
}


def method_named(name: str, settings: Settings | None = None) -> UnlearningMethod:
    """Return a registered method.

    Args:
        name: what it is called.
        settings: of a project whose models the method must be able to treat.

    Raises:
        InputError: there is none of that name, or it cannot treat the project's models.
    """
    if name not in METHODS:
        raise InputError(f"unknown unlearning method '{name}'; known: {', '.join(METHODS)}")
    if settings and settings.model.family not in METHODS[name].families:
        able = [m.name for m in METHODS.values() if settings.model.family in m.families]
        raise InputError(
            f"method '{name}' cannot treat models of architecture {settings.model.architecture}; "
            f"those that can: {', '.join(able)}"
        )
    return METHODS[name]
