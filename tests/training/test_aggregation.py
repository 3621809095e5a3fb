"""How constituents become one model, by hand."""

from math import exp, log

import pytest
import torch

from forgetflow.training.aggregation import combine, log_combine

LOGITS = torch.tensor([[[2.0, 0.0, 1.0], [0.0, 0.0, 0.0]], [[0.0, 3.0, 1.0], [1.0, 5.0, 1.0]]])
SCORES = torch.tensor([[[-1.0], [-2.0]], [[-3.0], [-2.0]]])
RULES = [("mean", LOGITS, (0, 1)), ("vote", LOGITS, (0, 1)), ("scores", SCORES, (0, 2))]


@pytest.mark.parametrize(("rule", "outputs", "shards"), RULES)
def test_probabilities_sum_to_one(rule, outputs, shards):
    found = combine(outputs, rule, shards, 3)
    assert found.shape == (2, 3)
    assert found.dtype == torch.float64
    assert found.sum(dim=1).tolist() == pytest.approx([1, 1])


def test_scores_make_a_posterior_by_hand():
    """Classes 0 and 2 have models; equal priors; class 1 has none and cannot be."""
    found = combine(SCORES, "scores", (0, 2), 3)
    weights = [exp(-1), exp(-3)]
    expected = [weights[0] / sum(weights), 0, weights[1] / sum(weights)]
    assert found[0].tolist() == pytest.approx(expected)
    assert found[1].tolist() == pytest.approx([0.5, 0, 0.5])


def test_the_order_of_members_does_not_matter_but_their_class_does():
    found = combine(SCORES.flip(0), "scores", (2, 0), 3)
    assert torch.equal(found, combine(SCORES, "scores", (0, 2), 3))
    assert not torch.equal(combine(SCORES, "scores", (2, 0), 3), found)


def test_ties_go_to_the_lowest_class():
    assert combine(SCORES, "scores", (0, 2), 3)[1].argmax() == 0
    assert combine(SCORES, "scores", (2, 1), 3)[1].argmax() == 1
    tied = torch.tensor([[[5.0, 0.0]], [[0.0, 5.0]]])
    assert combine(tied, "vote", (0, 1), 2).argmax() == 0
    assert combine(tied, "mean", (0, 1), 2).argmax() == 0


def test_scores_of_any_size_stay_probabilities():
    """Log densities of a thousand inputs are thousands of nats apart."""
    outputs = torch.tensor([[[-90_000.0]], [[-1e6]], [[-90_001.0]]])
    found = combine(outputs, "scores", (0, 1, 2), 3)[0]
    assert found.tolist() == pytest.approx([1 / (1 + exp(-1)), 0, exp(-1) / (1 + exp(-1))])


def test_one_class_alone_is_certain():
    assert combine(torch.tensor([[[-1e9]]]), "scores", (1,), 3).tolist() == [[0, 1, 0]]


def test_mean_and_vote_by_hand():
    soft = LOGITS.double().softmax(dim=2)
    assert combine(LOGITS, "mean", (0, 1), 3) == pytest.approx((soft[0] + soft[1]) / 2)
    assert combine(LOGITS, "vote", (0, 1), 3).tolist() == [[0.5, 0.5, 0], [0.5, 0.5, 0]]


@pytest.mark.parametrize(("rule", "outputs", "shards"), [RULES[0], RULES[2]])
def test_logarithms_are_those_of_the_probabilities(rule, outputs, shards):
    found = log_combine(outputs, rule, shards, 3)
    expected = combine(outputs, rule, shards, 3).log()
    assert found.double().numpy() == pytest.approx(expected.numpy(), rel=1e-5)


def test_logarithms_of_a_vote_are_those_of_the_mean():
    vote, mean = (log_combine(LOGITS, rule, (0, 1), 3) for rule in ("vote", "mean"))
    assert torch.equal(vote, mean)


def test_a_class_without_a_model_has_no_probability_and_no_gradient():
    outputs = SCORES.clone().requires_grad_()
    found = log_combine(outputs, "scores", (0, 2), 3)
    assert (found[:, 1] == -torch.inf).all()
    found[0, 0].backward()
    share = exp(-1) / (exp(-1) + exp(-3))
    assert outputs.grad is not None
    assert outputs.grad[:, 0, 0].tolist() == pytest.approx([1 - share, share - 1])
    assert found[0, 0].item() == pytest.approx(log(share))
