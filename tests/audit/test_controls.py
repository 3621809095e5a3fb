"""The controls: an audit that cannot fail proves nothing, so each way of misbehaving is made."""

from typing import Any

import numpy as np
import pytest

from forgetflow.audit.context import FLOOR
from forgetflow.audit.controls import Control, check_controls
from forgetflow.audit.ulira import Ulira
from forgetflow.files.jsonable import from_json, to_json

M, RETAIN, FORGET, TEST = 24, 30, 30, 30


def tables(forget: float, retain: float = 3.0, seed: int = 0, spread: float = 1.0) -> Any:
    """Return (M, N, 2) probabilities of class 0 with normal margins around given means."""
    rng = np.random.default_rng(seed)
    means = np.concatenate([np.full(RETAIN, retain), np.full(FORGET, forget), np.full(TEST, 1.0)])
    margins = means + spread * rng.normal(size=(M, len(means)))
    own = 1 / (1 + np.exp(-margins))
    return np.stack([own, 1 - own], axis=2)


@pytest.fixture
def found(make_context):
    """Return contender -> control for margins given by contender."""

    def check(**given: Any) -> dict[str, Control]:
        made = {
            "oracle": tables(1.0, seed=1),
            "second_oracle": tables(1.0, seed=2),
            "original": tables(3.0, seed=3),
            "none": tables(3.0, seed=3),
            "finetune": tables(2.5, seed=4),
            "ascent": tables(-1.0, seed=5),
        } | given
        context = make_context([0] * RETAIN, [0] * FORGET, [0] * TEST, **made)
        return {c.contender: c for c in check_controls(context, Ulira().estimates(context))}

    return check


def outcomes(found: dict[str, Control]) -> dict[str, str]:
    return {name: control.outcome for name, control in found.items()}


def test_controls_that_behave(found):
    assert outcomes(found()) == dict.fromkeys([FLOOR, "none", "finetune", "ascent"], "behaves")


def test_oracles_of_two_kinds_misbehave(found):
    other = found(second_oracle=tables(3.0, seed=2))
    assert other[FLOOR].outcome == "misbehaves"
    assert "U-LiRA" in other[FLOOR].sentence or "differ" in other[FLOOR].sentence


def test_oracles_that_differ_in_accuracy_alone_misbehave(found):
    other = found(second_oracle=tables(1.0, retain=-3.0, seed=2))
    assert other[FLOOR].outcome == "misbehaves"
    assert "retain" in other[FLOOR].sentence


def test_a_forget_set_that_nobody_memorised_gives_no_power(found):
    like_an_oracle = tables(1.0, seed=3)
    assert outcomes(found(original=like_an_oracle, none=like_an_oracle))["none"] == "no power"


def test_fine_tuning_that_wrecks_the_model_misbehaves(found):
    assert outcomes(found(finetune=tables(2.5, retain=-1.0, seed=4)))["finetune"] == "misbehaves"


def test_ascent_that_lowers_the_loss_misbehaves(found):
    assert outcomes(found(ascent=tables(5.0, seed=5)))["ascent"] == "misbehaves"


def test_ascent_that_hardly_moves_says_so(found):
    assert "hardly" in found(ascent=tables(3.0, seed=3))["ascent"].sentence


def test_a_control_survives_json():
    control = Control("none", "no power", "so it is")
    assert from_json(Control, to_json(control)) == control
