from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from forgetflow.attribution.attribute import attribute
from forgetflow.attribution.grad_dot import GradDot
from forgetflow.attribution.registry import ATTRIBUTORS
from forgetflow.attribution.task import choose_queries
from forgetflow.config.attribution import AttributionSettings
from forgetflow.errors import InputError, VerdictError
from forgetflow.keys.digests import set_digest

SETTINGS = AttributionSettings(queries=60)


def rows_of(scores):
    return [row.tobytes() for row in scores.train_digests]


def test_every_engine_of_params_yaml_is_registered():
    known = set(get_args(AttributionSettings.model_fields["method"].annotation))
    assert set(ATTRIBUTORS) == known - {"auto"}  # which stands for one of the others


def test_rows_and_columns_are_the_records_by_digest(trained, scores):
    records, test = trained.workspace.records, trained.test
    assert scores.values.shape == (len(records), 60)
    assert scores.values.dtype == np.float32
    assert rows_of(scores) == sorted(row.tobytes() for row in records.digests)
    expected = sorted(row.tobytes() for row in test.digests)[:60]
    assert [row.tobytes() for row in scores.query_digests] == expected


def test_same_bytes_twice(trained, scores):
    again = trained.attribute()
    assert again.to_bytes() == scores.to_bytes()
    assert again.summary == scores.summary


def test_order_of_records_changes_nothing(trained, scores):
    shuffle = np.random.default_rng(0).permutation(len(trained.workspace.records))
    workspace = replace(
        trained.workspace,
        records=trained.workspace.records.take(shuffle),
        assignment=trained.workspace.assignment.take(shuffle),
    )
    test = trained.test.take(np.random.default_rng(1).permutation(len(trained.test)))
    again = attribute(workspace, trained.ensemble, trained.keep, test, SETTINGS)
    assert again.to_bytes() == scores.to_bytes()
    assert again.summary == scores.summary


def test_one_test_record_less_exchanges_one_query_at_most(trained):
    test = trained.test
    chosen = set(choose_queries(test, 20))
    for gone in (min(chosen), next(i for i in range(len(test)) if i not in chosen)):
        left = np.delete(np.arange(len(test)), gone)
        again = set(left[choose_queries(test.take(left), 20)])
        assert len(again) == 20
        assert chosen - again == chosen & {gone}


def test_fewer_test_records_than_queries_are_all_used(trained):
    test = trained.test.take(np.arange(5))
    found = attribute(trained.workspace, trained.ensemble, trained.keep, test, SETTINGS)
    assert set_digest(found.query_digests) == test.digest
    assert found.summary.queries == 5


def test_records_of_a_class_support_that_class_on_digits(trained, scores):
    summary = scores.summary
    labels = {
        digest.tobytes(): label
        for records in (trained.workspace.records, trained.test)
        for digest, label in zip(records.digests, records.labels, strict=True)
    }
    train = np.array([labels[row.tobytes()] for row in scores.train_digests])
    query = np.array([labels[row.tobytes()] for row in scores.query_digests])
    own = train[:, None] == query
    exact = scores.values.astype(np.float64)
    assert summary.mean_own_class == pytest.approx(exact[own].mean())
    assert summary.mean_other_classes == pytest.approx(exact[~own].mean())
    assert summary.mean_abs_own_class == pytest.approx(np.abs(exact)[own].mean())
    assert summary.mean_abs_other_classes == pytest.approx(np.abs(exact)[~own].mean())
    assert summary.share_positive == pytest.approx((exact > 0).mean())
    assert summary.mean_own_class > 0 > summary.mean_other_classes
    assert summary.mean_abs_own_class > 2 * summary.mean_abs_other_classes


def test_queries_of_one_class_have_no_mean_over_the_others(trained):
    keep = trained.workspace.records.labels == 3
    threes = trained.test.take(trained.test.labels == 3)
    found = attribute(trained.workspace, trained.build(keep), keep, threes, SETTINGS).summary
    assert found.mean_other_classes is found.mean_abs_other_classes is None
    assert found.mean_own_class is not None


def test_a_model_without_one_shard_keeps_the_scores_of_the_others(trained, scores):
    keep = trained.workspace.assignment.shard != 2
    ensemble = trained.build(keep)
    found = attribute(trained.workspace, ensemble, keep, trained.test, SETTINGS)
    row = {digest: i for i, digest in enumerate(rows_of(scores))}
    before = scores.values[[row[digest] for digest in rows_of(found)]]
    assert found.summary.constituents == 2
    assert set_digest(found.train_digests) == trained.workspace.records.take(keep).digest
    np.testing.assert_allclose(found.values, before * 3 / 2, rtol=1e-5, atol=1e-7)


def test_records_the_model_did_not_learn_from_are_refused(trained):
    keep = trained.keep
    keep[0] = False
    with pytest.raises(VerdictError, match="not those that model original learned from"):
        attribute(trained.workspace, trained.ensemble, keep, trained.test, SETTINGS)


def test_a_record_placed_where_no_constituent_is_is_refused(trained):
    card = replace(trained.ensemble.card, constituents=trained.ensemble.card.constituents[:2])
    ensemble = replace(trained.ensemble, card=card, networks=trained.ensemble.networks[:2])
    with pytest.raises(VerdictError, match="learned from"):
        attribute(trained.workspace, ensemble, trained.keep, trained.test, SETTINGS)


def test_a_model_without_constituents_is_refused(trained):
    card = replace(trained.ensemble.card, constituents=())
    empty = replace(trained.ensemble, card=card, networks=[])
    with pytest.raises(InputError, match="no constituent left"):
        attribute(trained.workspace, empty, ~trained.keep, trained.test, SETTINGS)


def test_no_test_records_are_refused(trained):
    none = trained.test.take(np.empty(0, np.intp))
    with pytest.raises(InputError, match="as queries"):
        attribute(trained.workspace, trained.ensemble, trained.keep, none, SETTINGS)


def test_test_records_of_another_schema_are_refused(trained):
    schema = replace(trained.test.schema, class_names=tuple("abcdefghij"))
    other = replace(trained.test, schema=schema)
    with pytest.raises(InputError, match="other classes"):
        attribute(trained.workspace, trained.ensemble, trained.keep, other, SETTINGS)


def test_one_class_has_no_margin(trained):
    card = replace(trained.ensemble.card, class_names=("0",))
    with pytest.raises(InputError, match="at least two"):
        attribute(
            trained.workspace,
            replace(trained.ensemble, card=card),
            trained.keep,
            trained.test,
            SETTINGS,
        )


def test_a_diverged_model_is_refused(trained, monkeypatch):
    def broken(self, task, classes, prepared, settings):
        return np.full((1, 1, 1), np.nan, np.float32)

    monkeypatch.setattr(GradDot, "scores", broken)
    with pytest.raises(VerdictError, match="learning_rate"):
        attribute(trained.workspace, trained.ensemble, trained.keep, trained.test, SETTINGS)
