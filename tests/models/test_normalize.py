"""Standardisation: the statistics are those of the records it was fitted on, no others."""

import numpy as np
import pytest
import torch

from forgetflow.config.model import ModelSettings
from forgetflow.models.build import build
from forgetflow.models.normalize import Standardize


@pytest.fixture
def inputs():
    rng = np.random.default_rng(0)
    values = rng.normal(3.0, 20.0, size=(50, 2, 3)).astype(np.float32)
    values[:, 1, 2] = 5.0
    return torch.from_numpy(values)


def test_fit_takes_mean_and_population_deviation(inputs):
    layer = Standardize((2, 3))
    layer.fit(inputs)
    exact = inputs.numpy().astype(np.float64)
    deviation = exact.std(axis=0)
    deviation[1, 2] = 1.0
    np.testing.assert_array_equal(layer.mean.numpy(), exact.mean(axis=0).astype(np.float32))
    np.testing.assert_allclose(layer.deviation.numpy(), deviation, rtol=1e-6)
    np.testing.assert_allclose(
        layer(inputs).numpy(), (exact - exact.mean(axis=0)) / deviation, rtol=1e-4, atol=1e-5
    )


def test_constant_features_and_single_records_stay_finite(inputs):
    layer = Standardize((2, 3))
    layer.fit(inputs[:1])
    assert torch.equal(layer(inputs[:1]), torch.zeros(1, 2, 3))
    assert torch.isfinite(layer(inputs)).all()


def test_unfitted_it_is_the_identity(inputs):
    network = build(ModelSettings(hidden=(), normalize="standard"), (2, 3), 2, seed=0)
    assert torch.equal(network[0](inputs), inputs)
    network[0].fit(inputs)
    network[0].reset_parameters()
    assert torch.equal(network[0](inputs), inputs)


def test_the_statistics_are_part_of_the_state_and_not_trained(inputs):
    network = build(ModelSettings(hidden=(), normalize="standard"), (2, 3), 2, seed=0)
    network[0].fit(inputs)
    assert {"0.mean", "0.deviation"} <= network.state_dict().keys()
    assert not any(name.startswith("0.") for name, _ in network.named_parameters())
