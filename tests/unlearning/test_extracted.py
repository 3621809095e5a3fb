"""Exactness on features of a frozen extractor: nothing about a deletion changes."""

import numpy as np
import pytest

from forgetflow.config.model import ModelSettings
from forgetflow.models.build import build
from forgetflow.records.extractor import Extractor
from forgetflow.serving.extractor import write_extractor

HEADS = {
    "logistic": {"architecture": "logistic"},
    "mlp, standardised": {"hidden": [16], "normalize": "standard"},
}


@pytest.fixture(scope="module")
def extractor(tmp_path_factory):
    """An untrained LeNet: it never saw a record of anybody."""
    settings = ModelSettings(architecture="lenet")
    weights = build(settings, (1, 8, 8), 10, seed=3).state_dict()
    return weights, settings, tmp_path_factory.mktemp("extractor") / "e"


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("engine", ["auto", "sequential"])
def test_deleted_is_never_there(digits, lab, mask_of, extractor, head, engine):
    """After two deletions, every state is that of a build whose source never held the records."""
    weights, settings, folder = extractor
    write_extractor(folder, settings, weights, inputs=digits.schema.features, classes=10)
    raw = digits.take(np.arange(0, len(digits), 9))
    blocks = {
        "model": head,
        "partition": {"shards": 5, "slices": 3},
        "train": {"epochs": 2, "batch_size": 8, "engine": engine},
    }
    frozen = Extractor.load(folder)
    space = lab.space(frozen.extracted(raw, "all"), **blocks)
    parent = lab.build(space)
    before = lab.states(space)
    first, second = mask_of(raw, 0, 40, 41), mask_of(raw, 100)
    child = lab.unlearn(lab.view(space, parent, first))
    last = lab.unlearn(lab.view(space, child, second, gone=first))

    left = raw.take(~(first | second))
    scratch = lab.space(Extractor.load(folder).extracted(left, "what is left"), **blocks)
    assert last.digest == lab.build(scratch).digest != parent.digest
    after = lab.states(space, ~(first | second))
    assert after == lab.states(scratch)
    assert any(after[spot] == before[spot] for spot in after), "some states were found again"
    assert last.features == scratch.records.schema.features
    assert last.features.extractor == frozen.card.digest
