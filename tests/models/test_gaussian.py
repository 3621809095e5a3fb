"""The density of one class, against scipy and scikit-learn."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.covariance import shrunk_covariance

from forgetflow.config.model import GaussianSettings, ModelSettings
from forgetflow.models.build import build
from forgetflow.models.gaussian import Gaussian


def rows(count=50, width=4, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(count, width)) @ rng.normal(size=(width, width)) + shift
    return mixed.astype(np.float32)


def fitted(inputs, shrinkage=0.1, floor=1e-3):
    density = Gaussian(inputs.shape[1], GaussianSettings(shrinkage=shrinkage, floor=floor))
    density.absorb(torch.from_numpy(inputs))
    return density


def scores(density, inputs):
    """Return scores in double precision: the density answers in the precision it is asked in."""
    return density(torch.from_numpy(inputs).double()).squeeze(1).numpy()


@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 0.7, 1.0])
@pytest.mark.parametrize("floor", [1e-6, 1e-3, 0.5])
def test_scores_are_log_densities_with_that_covariance(shrinkage, floor):
    train, asked = rows(), rows(20, seed=1)
    own = train.astype(np.float64)
    covariance = shrunk_covariance(np.cov(own.T, bias=True), shrinkage) + floor * np.eye(4)
    expected = multivariate_normal(own.mean(axis=0), covariance).logpdf(asked)
    assert scores(fitted(train, shrinkage, floor), asked) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shift", [1e2, 1e4, 1e6])
def test_values_far_from_zero_lose_no_precision(shift):
    """Sums of products about zero would lose the variance in their last digits."""
    train, asked = rows(shift=shift), rows(20, shift=shift, seed=1)
    own = train.astype(np.float64)
    covariance = shrunk_covariance(np.cov(own.T, bias=True), 0.1) + 1e-3 * np.eye(4)
    expected = multivariate_normal(own.mean(axis=0), covariance).logpdf(asked)
    assert scores(fitted(train), asked) == pytest.approx(expected, rel=1e-6)


def test_parts_are_absorbed_as_if_they_came_together():
    whole, parts = fitted(rows()), Gaussian(4, GaussianSettings())
    for part in np.split(rows(), [0, 1, 20, 20]):
        parts.absorb(torch.from_numpy(part))
    assert float(parts.count) == 50
    for name, value in whole.named_buffers():
        torch.testing.assert_close(dict(parts.named_buffers())[name], value)


def test_images_are_flattened():
    images = rows(30, 12).reshape(30, 3, 2, 2)
    density = build(ModelSettings(architecture="gaussian"), (3, 2, 2), 10, seed=0)
    (own,) = (m for m in density.modules() if isinstance(m, Gaussian))
    own.absorb(torch.from_numpy(images))
    found = density(torch.from_numpy(images))
    assert found.shape == (30, 1)
    assert found.dtype == torch.float32
    flat = fitted(images.reshape(30, 12))
    assert found[:, 0].numpy() == pytest.approx(scores(flat, images.reshape(30, 12)), rel=1e-5)


def test_a_single_record_and_constant_values_have_a_density():
    """The floor keeps it proper where the records leave no spread."""
    one = np.array([[0.5, 0.25]], np.float32)
    expected = multivariate_normal([0.5, 0.25], 1e-3 * np.eye(2)).logpdf(one)
    assert scores(fitted(one), one) == pytest.approx(expected)
    assert scores(fitted(np.repeat(one, 9, axis=0)), one) == pytest.approx(expected)


def test_more_values_than_records_have_a_density():
    found = scores(fitted(rows(5, 40)), rows(5, 40))
    assert np.isfinite(found).all()


def test_an_empty_density_learned_nothing_and_reset_makes_one():
    density = fitted(rows())
    density.reset_parameters()
    assert all(not buffer.any() for buffer in density.buffers())
    assert not list(density.parameters())


def test_the_order_of_records_is_rounding_only():
    train, asked = rows(200), rows(20, seed=1)
    found = [scores(fitted(one), asked) for one in (train, train[::-1].copy())]
    assert found[0] == pytest.approx(found[1], rel=1e-10)
