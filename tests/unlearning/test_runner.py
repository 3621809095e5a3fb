"""Whole projects: sealed batches become generations that equal builds without the records."""

import json
from dataclasses import replace

import numpy as np
import pytest

from forgetflow.errors import InputError, VerdictError
from forgetflow.files.jsonable import to_json
from forgetflow.records.record_set import build_record_set
from forgetflow.requests.batches import forgotten_ids, read_batches
from forgetflow.requests.seal import batch_manifest, seal
from forgetflow.training.card import read_card
from forgetflow.training.ensemble import Ensemble
from forgetflow.training.workspace import Workspace
from forgetflow.unlearning.protocol import jobs_of
from forgetflow.unlearning.registry import METHODS
from forgetflow.unlearning.runner import Deletion, check_integrity, deletion_cost, restarts, unlearn

FIRST = ({"record": "r0005"}, {"subject": "s0010"}, {"subject": "s0011"})
SECOND = ({"where": "label == 'c' and subject_id < 's0006'"}, {"record": "r0059"})


def without(folder, make_folder, records, batch):
    """Return a project whose data source never had what a batch and its parents forget."""
    gone = forgotten_ids(folder.project, batch)
    fresh = make_folder(records.without(gone))
    return fresh, fresh.build()


@pytest.mark.parametrize("methods", [("sisa", "sisa"), ("retrain", "sisa"), ("sisa", "retrain")])
def test_original_and_deletions_are_a_build_without_them(folder, make_folder, records, methods):
    """Through requests, sealed manifests and model folders."""
    first = folder.forget(*FIRST, method=methods[0])
    second = folder.forget(*SECOND, method=methods[1])
    assert second.records < first.records < len(records)
    for card in (first, second):
        fresh, expected = without(folder, make_folder, records, card.generation)
        assert folder.weights(card.generation) == fresh.weights("original")
        assert folder.weights(card.generation) != folder.weights("original")
        assert card.digest == expected.digest
        assert card.retain_digest == expected.retain_digest
        inputs = records.inputs[:5]
        np.testing.assert_array_equal(
            Ensemble.load(folder.project.model(card.generation)).predict(inputs),
            Ensemble.load(fresh.project.model("original")).predict(inputs),
        )


def test_sisa_and_retraining_leave_the_same_files(make_folder, records, lab):
    """Also the optimizer's memory, although no key is shared."""
    found = {}
    for method in ("sisa", "retrain"):
        folder = make_folder(records, model={"normalize": "standard"})
        folder.build()
        card = folder.forget(*FIRST, method=method)
        store = Workspace.open(folder.project).store
        states = [lab.path(store, member.key).read_bytes() for member in card.constituents]
        keys = [member.key for member in card.constituents]
        found[method] = (folder.weights("b1"), states, card.digest, keys)
    assert found["sisa"][:3] == found["retrain"][:3]
    assert not set(found["sisa"][3]) & set(found["retrain"][3])


def test_one_batch_of_both_is_the_same_model(folder, make_folder, records):
    folder.forget(*FIRST)
    second = folder.forget(*SECOND)
    other = make_folder(records)
    other.build()
    both = other.forget(*SECOND, *FIRST)
    assert both.digest == second.digest
    assert other.weights("b1") == folder.weights("b2")


@pytest.mark.parametrize("control", ["none", "finetune"])
def test_an_exact_deletion_after_an_approximate_one_is_exact(folder, make_folder, records, control):
    folder.forget(*FIRST, method=control)
    second = folder.forget(*SECOND)
    fresh, expected = without(folder, make_folder, records, "b2")
    assert second.digest == expected.digest
    assert folder.weights("b2") == fresh.weights("original")


def test_a_card_says_where_a_generation_came_from(folder, records):
    first = folder.forget(*FIRST)
    second = folder.forget(*SECOND, method="finetune")
    project = folder.project
    manifests = [batch_manifest(project, batch) for batch in ("b1", "b2")]
    assert (first.parent, second.parent) == ("original", "b1")
    assert second.manifests == tuple(manifest.digest for manifest in manifests)
    assert (first.method, first.guarantee) == ("sisa", "exact")
    assert (second.method, second.guarantee) == ("finetune", "approximate")
    assert first.forgotten == len(manifests[0]) == 5
    assert second.forgotten == len(records) - second.records == 5 + len(manifests[1])
    left = records.without(forgotten_ids(project, "b2"))
    assert second.retain_digest == left.digest
    assert read_card(project.model("b2")) == second


def test_erasing_the_records_afterwards_changes_no_file(folder, records, count_samples):
    """What is forgotten may leave the training set; the model and its card stay what they are."""
    folder.forget(*FIRST)
    before = {p.name: p.read_bytes() for p in folder.project.model("b1").iterdir()}
    folder.replace_records(records.without(forgotten_ids(folder.project, "b1")))
    count_samples.clear()
    folder.unlearn("b1")
    assert {p.name: p.read_bytes() for p in folder.project.model("b1").iterdir()} == before
    assert count_samples == []
    deletion = Deletion.open(folder.project, "b1")
    assert not deletion.forget.any()
    method = METHODS["sisa"]
    check_integrity(deletion.view(method), method, read_card(folder.project.model("b1")))


def test_deleting_after_an_erasure_is_exact(folder, make_folder, records):
    folder.forget(*FIRST)
    folder.replace_records(records.without(forgotten_ids(folder.project, "b1")))
    second = folder.forget(*SECOND)
    _, expected = without(folder, make_folder, records, "b2")
    assert second.digest == expected.digest
    assert second.forgotten == len(records) - expected.records


def test_an_unknown_record_is_reported_and_nothing_is_built(folder):
    unknown = folder.request(record="nobody")
    before = folder.tree()
    result = seal(folder.project)
    assert result.batch is None
    assert {one.request_id: str(one.state) for one in result.outcomes} == {unknown: "no_match"}
    assert {name: one for name, one in folder.tree().items() if "models" in name} == {
        name: one for name, one in before.items() if "models" in name
    }
    with pytest.raises(InputError, match="no batch 'b1'"):
        Deletion.open(folder.project, "b1")


def test_an_unknown_record_beside_a_known_one_is_not_passed_over_in_silence(folder):
    folder.request(record="nobody")
    folder.request(record="r0005")
    result = seal(folder.project)
    assert sorted(str(one.state) for one in result.outcomes) == ["no_match", "sealed"]
    assert batch_manifest(folder.project, "b1").record_ids == ("r0005",)


def test_the_parent_has_to_be_built_first(make_folder, records):
    folder = make_folder(records)
    folder.seal({"record": "r0005"})
    with pytest.raises(InputError, match="no model at"):
        folder.unlearn("b1")
    folder.build()
    folder.seal({"record": "r0006"})
    with pytest.raises(InputError, match="no model at"):
        folder.unlearn("b2")
    folder.unlearn("b1")
    folder.unlearn("b2")


@pytest.mark.parametrize("method", [n for n, m in METHODS.items() if "network" in m.families])
def test_running_again_leaves_every_byte_and_costs_nothing(folder, count_samples, method):
    first = folder.forget(*FIRST, method=method)
    before = {name: data for name, (_, data) in folder.tree().items()}
    count_samples.clear()
    assert folder.unlearn("b1", method) == first
    assert count_samples == []
    assert {name: data for name, (_, data) in folder.tree().items()} == before


def test_a_record_that_changed_since_it_was_sealed_is_refused(folder, records):
    folder.seal({"record": "r0005"})
    features = records.inputs.copy()
    features[5] += 1
    folder.replace_records(
        build_record_set(
            records.schema,
            record_ids=records.record_ids,
            subject_ids=records.subject_ids,
            labels=records.labels,
            features=features,
            where="test",
        )
    )
    with pytest.raises(VerdictError, match=r"1 record\(s\) of batch b1 changed"):
        Deletion.open(folder.project, "b1")


def test_a_manifest_that_was_swapped_is_refused(folder):
    folder.seal({"record": "r0005"})
    folder.seal({"record": "r0006"})
    path = folder.project.forget / "b1.parquet"
    path.write_bytes((folder.project.forget / "b2.parquet").read_bytes())
    with pytest.raises(VerdictError):
        Deletion.open(folder.project, "b1")


def test_a_method_sealed_is_a_default_and_not_a_law(folder):
    batch = folder.seal({"record": "r0005"}, method="finetune")
    assert read_batches(folder.project)[batch].method == "finetune"
    assert folder.unlearn(batch, "sisa").method == "sisa"


# Integrity without training


@pytest.fixture
def forgotten(folder):
    folder.forget(*FIRST)
    return folder


def integrity(folder, card):
    deletion = Deletion.open(folder.project, "b1")
    method = METHODS["sisa"]
    check_integrity(deletion.view(method), method, card)


def test_integrity_of_what_was_made(forgotten):
    integrity(forgotten, read_card(forgotten.project.model("b1")))


@pytest.mark.parametrize(
    "change",
    [
        lambda card: replace(card, constituents=card.constituents[1:]),
        lambda card: replace(card, constituents=()),
        lambda card: with_first(card, key="0" * 64),
        lambda card: with_first(card, shard=9),
        lambda card: with_first(card, weights="0" * 64),
    ],
)
def test_integrity_of_another_card_is_refused(forgotten, change):
    with pytest.raises(VerdictError):
        integrity(forgotten, change(read_card(forgotten.project.model("b1"))))


def with_first(card, **changes):
    return replace(
        card, constituents=(replace(card.constituents[0], **changes), *card.constituents[1:])
    )


def test_integrity_of_the_original_is_not_that_of_the_deletion(forgotten):
    with pytest.raises(VerdictError, match="records that are left"):
        integrity(forgotten, read_card(forgotten.project.model("original")))


def test_integrity_needs_the_bytes(forgotten, lab):
    card = read_card(forgotten.project.model("b1"))
    store = Workspace.open(forgotten.project).store
    lab.path(store, card.constituents[1].key).write_bytes(b"other")
    with pytest.raises(VerdictError, match="missing or corrupted"):
        integrity(forgotten, card)


# Cost


@pytest.mark.parametrize("method", ["sisa", "retrain"])
def test_the_cost_is_what_was_learned(folder, count_samples, method):
    deletion = Deletion.open(folder.project, folder.seal(*FIRST))
    chosen = METHODS[method]
    count_samples.clear()
    unlearn(folder.project, deletion, chosen)
    view = deletion.view(chosen)
    cost = deletion_cost(view, jobs_of(chosen, view))
    assert cost.forward_samples == cost.backward_samples == sum(count_samples) > 0
    again = restarts(deletion, chosen)
    assert cost.states == sum(3 - first for first in again.values())
    assert cost.constituents == len(again)
    assert cost.stored_bytes > 0
    assert json.loads(json.dumps(to_json(cost))) == to_json(cost)


def test_controls_rebuild_nothing(folder):
    deletion = Deletion.open(folder.project, folder.seal(*FIRST))
    changed = len(restarts(deletion, METHODS["sisa"]))
    for name, cost in {"none": 0, "finetune": changed, "ascent": changed}.items():
        unlearn(folder.project, deletion, METHODS[name])
        assert restarts(deletion, METHODS[name]) is None
        view = deletion.view(METHODS[name])
        assert deletion_cost(view, jobs_of(METHODS[name], view)).states == cost
