"""Methods on a GPU: the same bytes twice, those of the CPU up to rounding, and pools that train."""

import numpy as np
import pytest
import torch

from forgetflow.pools.comparison import Comparison
from forgetflow.training.sequential import weights_of
from forgetflow.unlearning.edit import EditMethod
from forgetflow.unlearning.protocol import jobs_of
from forgetflow.unlearning.registry import METHODS
from forgetflow.unlearning.view import View

EDITS = [name for name, method in METHODS.items() if isinstance(method, EditMethod)]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]


def unlearned(lab, records, name, device):
    """Return the bytes and weights that a method leaves on a device, by shard."""
    space = lab.space(records, model={"hidden": [37]}, run={"device": device})
    forget = np.zeros(len(records), bool)
    forget[[3, 4, 10, 21]] = True
    view = View("b1", lab.build(space), METHODS[name].needs, space, ~forget, forget)
    receipts = {job.shard: METHODS[name].run(view, job) for job in jobs_of(METHODS[name], view)}
    weights = {shard: weights_of(space.store.require(r.key)) for shard, r in receipts.items()}
    return {shard: receipt.sha256 for shard, receipt in receipts.items()}, weights


@pytest.mark.parametrize("name", EDITS)
def test_the_same_bytes_twice_and_the_numbers_of_the_cpu(lab, records, name):
    first, found = unlearned(lab, records, name, "cuda")
    second, _ = unlearned(lab, records, name, "cuda")
    assert first == second
    _, expected = unlearned(lab, records, name, "cpu")
    for shard, weights in expected.items():
        pairs = [(found[shard][path].flatten(), value.flatten()) for path, value in weights.items()]
        one, other = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        # Rounding decides which weights a threshold selects, and the sign of a tiny gradient.
        close = torch.isclose(one, other, rtol=1e-2, atol=1e-3).float().mean()
        assert close > 0.9, (shard, float(close))


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("architecture", ["mlp", "wideresnet"])
def test_pools_of_every_method_grow(lab, records, pictures, name, architecture):
    chosen = pictures if architecture == "wideresnet" else records
    space = lab.space(
        chosen,
        model={"architecture": architecture},
        train={"epochs": 2},
        partition={"shards": 2, "slices": 1},
        run={"device": "cuda"},
        unlearn={"ascent": {"learning_rate": 1e-4}},
    )
    forget = np.zeros(len(chosen), bool)
    forget[[3, 4, 10]] = True
    comparison = Comparison(space, space.everything, (), "t", ~forget, forget)
    procedure = comparison.procedure(name, 6)
    procedure.train()
    found = procedure.pool().probabilities(chosen.inputs)
    assert found.shape == (6, len(chosen), 3)
    assert np.allclose(found.sum(axis=2), 1)
