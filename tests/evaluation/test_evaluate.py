from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from forgetflow.config.gate import GateSettings
from forgetflow.errors import InputError
from forgetflow.evaluation.evaluate import (
    Evaluation,
    evaluate,
    read_evaluation,
    read_gate,
    with_extra,
    write_evaluation,
)
from forgetflow.evaluation.gate import check_gate
from forgetflow.evaluation.registry import MEASURES


@pytest.fixture
def context(attacked):
    rng = np.random.default_rng(0)
    return attacked(
        **{
            name: (rng.exponential(size=20), rng.exponential(size=20))
            for name in ("parent", "oracle")
        },
        unlearned=(rng.exponential(size=20), rng.exponential(size=20)),
    )


def leaves(metrics: Mapping[str, Any]) -> Iterator[Any]:
    for value in metrics.values():
        if isinstance(value, Mapping):
            yield from leaves(value)
        else:
            yield value


def test_every_registered_measure_is_there(context) -> None:
    evaluation = evaluate(context)
    metrics = {"records", *MEASURES} - {"constituents"}  # models by table have no members
    assert set(evaluation.metrics) == metrics
    assert evaluation.metrics["records"] == {"forget": 20, "test": 20}
    assert all(name == measure.name for name, measure in MEASURES.items())


def test_metrics_are_numbers_only_and_reasons_stand_apart(context) -> None:
    alone = evaluate(type(context)({"original": context.models["oracle"]}, {}, context.settings))
    for evaluation in (evaluate(context), alone):
        assert all(type(leaf) in (int, float) for leaf in leaves(evaluation.metrics))
    assert "membership" not in alone.metrics
    assert alone.metric("membership.unlearned.auc") is None
    assert "no forget set" in (alone.reason("membership.unlearned.auc") or "")


def test_what_is_written_is_read_back(context, tmp_path) -> None:
    folder = tmp_path / "evaluation" / "b1"
    evaluation = evaluate(context)
    verdict = check_gate(evaluation.metrics, GateSettings(), "exact", 20, evaluation.reasons)
    extra = {"points": {"counted": 12, "predicted": None, "reason": "no formula"}}
    write_evaluation(evaluation, folder, extra, verdict)
    assert sorted(path.name for path in folder.iterdir()) == [
        "accuracy_by_class.csv",
        "gate.json",
        "loss_histogram.csv",
        "metrics.json",
        "reasons.json",
    ]
    again = read_evaluation(folder)
    assert again == with_extra(evaluation, extra)
    assert again.metric("points.counted") == 12
    assert again.reason("points.predicted") == "no formula"
    assert read_gate(folder) == verdict


def test_writing_twice_gives_the_same_bytes_and_leaves_nothing_old(context, tmp_path) -> None:
    folder = tmp_path / "b1"
    write_evaluation(evaluate(context), folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "stale.csv").write_text("old")
    write_evaluation(evaluate(context), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["b1"]


def test_a_failure_leaves_the_old_folder(context, tmp_path) -> None:
    folder = tmp_path / "b1"
    write_evaluation(evaluate(context), folder)
    before = (folder / "metrics.json").read_bytes()
    with pytest.raises(ValueError, match="points"):
        write_evaluation(evaluate(context), folder, {"points": {"counted": float("nan")}})
    assert (folder / "metrics.json").read_bytes() == before


@pytest.mark.parametrize("leaf", ["text", [1.0], float("inf"), np.ones(2)])
def test_other_leaves_than_numbers_are_refused(leaf) -> None:
    with pytest.raises(ValueError, match=r"extra\.leaf"):
        with_extra(Evaluation({}), {"extra": {"leaf": leaf}})


def test_extra_metrics_cannot_replace_a_measure(context) -> None:
    with pytest.raises(ValueError, match="accuracy"):
        with_extra(evaluate(context), {"accuracy": {"unlearned": {"test": 1.0}}})


def test_no_file_holds_an_id_a_digest_or_a_single_loss(context, tmp_path) -> None:
    write_evaluation(evaluate(context), tmp_path / "b1")
    text = "".join(path.read_text() for path in (tmp_path / "b1").iterdir())
    for name in context.set_names:
        records = context.sets[name]
        secrets = [*records.record_ids, *records.subject_ids]
        secrets += [digest.tobytes().hex() for digest in records.digests]
        for model in context.model_names:
            secrets += [repr(float(loss)) for loss in context.losses(model, name)]
        assert not [secret for secret in secrets if secret in text]


def test_damaged_or_missing_files_say_what_to_do(tmp_path) -> None:
    with pytest.raises(InputError, match="dvc repro"):
        read_evaluation(tmp_path)
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        read_evaluation(tmp_path)
    assert read_gate(tmp_path) is None
    (tmp_path / "gate.json").write_text('{"passed": true, "checks": [{"name": "controls"}]}')
    with pytest.raises(InputError, match="damaged"):
        read_gate(tmp_path)
