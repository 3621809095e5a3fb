import copy
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from forgetflow.attribution import grad_dot
from forgetflow.attribution.grad_dot import GradDot
from forgetflow.attribution.task import build
from forgetflow.config.attribution import AttributionSettings
from forgetflow.config.model import ModelSettings
from forgetflow.models.build import build as build_network
from forgetflow.training.gradients import chunk_size, loss, margin, per_sample_gradients

OBJECTIVES = {
    "loss": (loss, lambda z, c: nn.functional.cross_entropy(z[None], c[None])),
    "margin": (margin, lambda z, c: torch.logit(z.softmax(0)[c])),
}


def double(ensemble):
    return replace(ensemble, networks=[copy.deepcopy(n).double() for n in ensemble.networks])


def small_task(trained, ensemble=None):
    """A task of 40 records and 7 queries."""
    task = build(trained.workspace, ensemble or trained.ensemble, trained.keep, trained.test, 7)
    first = np.arange(40)
    return replace(task, train=task.train.take(first), shard=task.shard[first])


def scores_of(task, classes=None):
    """Scores of the queries' own classes, or of given ones."""
    chosen = task.queries.labels[:, None] if classes is None else classes
    found = GradDot().scores(task, np.array(chosen), {}, AttributionSettings())
    return found[:, :, 0] if classes is None else found


@pytest.mark.parametrize("architecture", ["mlp", "lenet"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_per_sample_gradients_equal_autograd_one_record_at_a_time(architecture, name):
    ours, reference = OBJECTIVES[name]
    settings = ModelSettings(architecture=architecture, hidden=(6,), normalize="standard")
    network = build_network(settings, (1, 8, 8), 4, seed=3).double().eval()
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(5, 1, 8, 8, generator=generator, dtype=torch.float64)
    classes = torch.tensor([0, 3, 1, 2, 3])
    network[0].fit(inputs)

    together = per_sample_gradients(network, ours, inputs, classes)

    assert set(together) == {n for n, _ in network.named_parameters()}
    for row in range(5):
        network.zero_grad()
        reference(network(inputs[row : row + 1])[0], classes[row]).backward()
        for parameter, value in network.named_parameters():
            torch.testing.assert_close(together[parameter][row], value.grad, rtol=1e-9, atol=1e-13)


def test_loss_gradient_survives_an_almost_perfect_fit():
    logits, label = torch.tensor([30.0, 0.0, 0.0]), torch.tensor(0)
    gradient = torch.func.grad(loss)(logits, label)
    expected = torch.tensor([-2.0, 1.0, 1.0], dtype=torch.float64) * np.exp(-30.0)
    torch.testing.assert_close(gradient.double(), expected, rtol=1e-5, atol=0)


def test_score_is_the_derivative_of_the_mean_margin_along_a_step_down_the_loss(trained):
    ensemble = double(trained.ensemble)
    task = small_task(trained, ensemble)
    tau = scores_of(task)
    queries = torch.from_numpy(task.queries.inputs).double()
    labels = torch.from_numpy(np.array(task.queries.labels))
    others = ~torch.eye(10, dtype=torch.bool)[labels]

    def mean_margins() -> Tensor:
        margins = []
        with torch.no_grad():
            for network in ensemble.networks:
                z = network(queries)
                rest = z[others].reshape(len(z), -1).logsumexp(1)
                margins.append(z.gather(1, labels[:, None])[:, 0] - rest)
        return torch.stack(margins).mean(0)

    numeric = torch.empty(len(task.train), len(queries), dtype=torch.float64)
    eta = 1e-6
    for row in range(len(task.train)):
        network = ensemble.networks[task.shard[row]]
        record = torch.from_numpy(task.train.inputs[row : row + 1]).double()
        target = torch.tensor([int(task.train.labels[row])])
        value = nn.functional.cross_entropy(network(record), target)
        gradients = torch.autograd.grad(value, list(network.parameters()))

        def move(step: float, network=network, gradients=gradients) -> None:
            with torch.no_grad():
                for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                    parameter.sub_(step * gradient)

        move(eta)
        after = mean_margins()
        move(-2 * eta)
        numeric[row] = (after - mean_margins()) / (2 * eta)
        move(eta)
    assert {*task.shard} == {0, 1, 2}
    scale = float(np.abs(tau).max())
    np.testing.assert_allclose(tau, numeric.numpy(), rtol=2e-6, atol=2e-8 * scale)


def test_weights_of_another_constituent_do_not_reach_a_record(trained, scores):
    task = build(trained.workspace, trained.ensemble, trained.keep, trained.test, 60)
    networks = [copy.deepcopy(network) for network in trained.ensemble.networks]
    with torch.no_grad():
        for parameter in networks[1].parameters():
            parameter.mul_(1.1)
    changed = trained.attribute(replace(trained.ensemble, networks=networks)).values
    same_row = (changed == scores.values).all(axis=1)
    assert same_row[task.shard != 1].all()
    assert not same_row[task.shard == 1].any()


def test_a_record_raises_its_own_margin(trained):
    task = small_task(trained)
    own = scores_of(replace(task, queries=task.train)).diagonal()
    assert (own > 0).all()


def test_chunk_size_changes_no_score(trained):
    network = trained.ensemble.networks[0]
    task = small_task(trained)
    train = (torch.from_numpy(task.train.inputs), torch.tensor(task.train.labels))
    queries = (torch.from_numpy(task.queries.inputs), torch.tensor(task.queries.labels))
    gradient = 4 * sum(p.numel() for p in network.parameters())
    whole = grad_dot.dot_products(network, train, queries, 2**30)
    for rows in (1, 3, 7, 40):
        pieces = grad_dot.dot_products(network, train, queries, 2 * rows * gradient)
        np.testing.assert_allclose(pieces, whole, rtol=1e-6, atol=1e-6 * np.abs(whole).max())


def test_gradients_alive_at_any_time_stay_under_the_bound(trained, monkeypatch):
    network = trained.ensemble.networks[0]
    task = small_task(trained)
    train = (torch.from_numpy(task.train.inputs), torch.tensor(task.train.labels))
    queries = (torch.from_numpy(task.queries.inputs), torch.tensor(task.queries.labels))
    bound = 9 * 4 * sum(p.numel() for p in network.parameters())
    alive: dict[int, int] = {}
    peaks = []

    def watched(*arguments):
        gradients = per_sample_gradients(*arguments)
        for tensor in gradients.values():
            alive[id(tensor)] = tensor.nbytes
            weakref.finalize(tensor, alive.pop, id(tensor))
        peaks.append(sum(alive.values()))
        return gradients

    monkeypatch.setattr(grad_dot, "per_sample_gradients", watched)
    grad_dot.dot_products(network, train, queries, bound)
    assert 0.5 * bound < max(peaks) <= bound
    assert len(peaks) == 2 + 2 * 10  # two chunks of queries, ten of records for each


def test_one_gradient_too_large_for_the_bound_still_goes_through(trained):
    assert chunk_size(trained.ensemble.networks[0], 1) == 1


def test_every_class_of_every_query_can_be_explained(trained):
    """The scores of a class are those of the query as if it had that label."""
    task = small_task(trained)
    everything = np.tile(np.arange(10), (len(task.queries), 1))
    whole = scores_of(task, everything)
    assert whole.shape == (40, 7, 10)
    own = np.array(task.queries.labels)
    np.testing.assert_allclose(
        whole[:, np.arange(7), own], scores_of(task), rtol=1e-5, atol=1e-6 * np.abs(whole).max()
    )
    shifted = (own[:, None] + 1) % 10
    np.testing.assert_allclose(
        whole[:, np.arange(7), shifted[:, 0]],
        scores_of(task, shifted)[:, :, 0],
        rtol=1e-5,
        atol=1e-6 * np.abs(whole).max(),
    )
