"""Margins against logits, and what a context refuses."""

import numpy as np
import pytest
import torch

from forgetflow.audit.context import MAX_MARGIN, AuditContext, margins


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 6, (3, 15, 4))


def softmax(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).softmax(dim=2).numpy()


LABELS = np.arange(15) % 4


@pytest.fixture
def context(make_context, logits) -> AuditContext:
    tables = softmax(logits)
    return make_context(
        LABELS[:5], LABELS[5:10], LABELS[10:], oracle=tables, second_oracle=tables[::-1]
    )


def test_margins_are_those_of_logits(logits: np.ndarray) -> None:
    scores = torch.from_numpy(logits)
    own = torch.nn.functional.one_hot(torch.from_numpy(LABELS), 4).bool().expand(3, -1, -1)
    others = scores.masked_fill(own, -torch.inf).logsumexp(dim=2)
    expected = (scores[own].reshape(3, -1) - others).numpy()
    np.testing.assert_allclose(margins(softmax(logits), LABELS), expected, rtol=1e-10)


def test_margins_of_certain_records_do_not_cancel() -> None:
    # 1 - p_y is exactly 0 here; the sum of the others is not.
    near = np.array([[[1.0, 1e-20, 2e-20]]])
    assert margins(near, np.array([0]))[0, 0] == pytest.approx(-np.log(3e-20))


def test_margins_are_clipped() -> None:
    sure = np.array([[[1.0, 0.0], [1.0, 0.0]]])
    assert margins(sure, np.array([0, 1])).tolist() == [[MAX_MARGIN, -MAX_MARGIN]]


def test_margins_leave_their_input_alone(logits: np.ndarray) -> None:
    tables = softmax(logits)
    before = tables.copy()
    margins(tables, LABELS)
    np.testing.assert_array_equal(tables, before)


def test_sets_are_cut_where_they_should_be(context: AuditContext, logits: np.ndarray) -> None:
    np.testing.assert_array_equal(
        context.margins("oracle", "forget"), margins(softmax(logits), LABELS)[:, 5:10]
    )
    assert context.names == ["second oracle"]
    assert (context.classes, context.members("oracle")) == (4, 3)


def test_losses_and_hits(context: AuditContext, logits: np.ndarray) -> None:
    expected = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits[1, :5]), torch.from_numpy(LABELS[:5]), reduction="none"
    )
    np.testing.assert_allclose(context.losses("oracle", "retain")[1], expected.numpy())
    hits = logits[:, 10:].argmax(axis=2) == LABELS[10:]
    assert 0 < hits.sum() < hits.size
    np.testing.assert_array_equal(context.correct("oracle", "test"), hits)


def test_infinite_losses_are_capped(make_context) -> None:
    sure = np.tile([1.0, 0.0], (1, 3, 1))
    context = make_context([1], [0], [0], oracle=sure, second_oracle=sure)
    assert context.losses("oracle", "retain").tolist() == [[MAX_MARGIN]]
    assert context.losses("oracle", "forget").tolist() == [[0.0]]


def test_a_context_needs_both_oracles_and_all_sets(context: AuditContext) -> None:
    alone = {"oracle": context.contenders["oracle"]}
    with pytest.raises(ValueError, match="needs second oracle"):
        AuditContext(alone, context.sets, context.untrained, context.settings)
    sets = {**context.sets, "forget": context.sets["forget"].take(np.array([], dtype=int))}
    with pytest.raises(ValueError, match="needs forget"):
        AuditContext(context.contenders, sets, context.untrained, context.settings)
