"""A model generation: its card, its files, and how its members' answers are combined."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from forgetflow.errors import InputError, VerdictError
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.training import ensemble as ensemble_module
from forgetflow.training.card import (
    Constituent,
    ModelCard,
    card_digest,
    export_weights,
    read_card,
    weights_file,
    write_model,
)
from forgetflow.training.ensemble import Ensemble
from forgetflow.training.sequential import weights_of
from forgetflow.training.trainer import train_chain

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def space(make_space, records):
    return make_space(records, partition={"shards": 3})


@pytest.fixture(scope="module")
def card(space):
    members = []
    for shard in range(3):
        chain = space.chain(shard, space.everything)
        receipt, _ = train_chain(space.store, chain, space.recipe)
        members.append(space.constituent(shard, receipt, space.everything))
    return space.card("original", members[::-1], space.everything)


@pytest.fixture
def folder(space, card, tmp_path):
    write_model(space.store, card, tmp_path / "models" / "original")
    return tmp_path / "models" / "original"


class Table(nn.Module):
    """Answers input i with row i of a table of logits."""

    def __init__(self, rows):
        super().__init__()
        self.rows = torch.tensor(rows, dtype=torch.float32)

    def forward(self, inputs):
        return self.rows[inputs[:, 0].long()]


def combined(card, aggregation, *tables):
    networks = [Table(rows).eval() for rows in tables]
    members = tuple(
        Constituent(shard, f"key-{shard}", f"weights-{shard}", 1, ())
        for shard in range(len(tables))
    )
    card = replace(card, aggregation=aggregation, constituents=members)
    return Ensemble(card, networks, CPU)


def inputs(count):
    return np.arange(count, dtype=np.float32).reshape(-1, 1)


# Aggregation


def test_mean_averages_softmax_outputs(card):
    tables = np.random.default_rng(0).normal(size=(3, 7, 3))
    exact = np.exp(tables) / np.exp(tables).sum(axis=2, keepdims=True)
    model = combined(card, "mean", *tables)
    np.testing.assert_allclose(model.member_probabilities(inputs(7)), exact, rtol=1e-5)
    np.testing.assert_allclose(model.probabilities(inputs(7)), exact.mean(axis=0), rtol=1e-5)
    assert model.predict(inputs(7)).tolist() == exact.mean(axis=0).argmax(axis=1).tolist()


def test_vote_counts_labels(card):
    sure, unsure = [0.0, 9.0, 0.0], [1.1, 1.0, 0.0]
    tables = [[sure], [unsure], [unsure]]
    vote = combined(card, "vote", *tables)
    np.testing.assert_allclose(vote.probabilities(inputs(1)), [[2 / 3, 1 / 3, 0]])
    assert vote.predict(inputs(1)).tolist() == [0]
    assert combined(card, "mean", *tables).predict(inputs(1)).tolist() == [1], "one is very sure"


@pytest.mark.parametrize("aggregation", ["mean", "vote"])
@pytest.mark.parametrize(("first", "second"), [(0, 1), (0, 2), (1, 2)])
def test_ties_go_to_the_lowest_class(card, aggregation, first, second):
    one, other = np.zeros((2, 1, 3)) - 5.0
    one[0, first] = other[0, second] = 3.0
    for tables in ((one, other), (other, one)):
        assert combined(card, aggregation, *tables).predict(inputs(1)).tolist() == [first]


def test_a_member_that_is_undecided_votes_for_the_lowest_class(card):
    assert combined(card, "vote", [[0.0, 2.0, 2.0]]).predict(inputs(1)).tolist() == [1]


def test_many_inputs_are_answered_in_order(card):
    count = 2 * ensemble_module.BATCH + 3
    rows = np.random.default_rng(1).normal(size=(count, 3))
    model = combined(card, "mean", rows)
    assert model.predict(inputs(count)).tolist() == rows.argmax(axis=1).tolist()
    assert model.predict(inputs(count)[:0]).shape == (0,)
    assert model.probabilities(inputs(count)[:0]).shape == (0, 3)


def test_nobody_left_is_said_and_not_guessed(card):
    with pytest.raises(InputError, match="every record was forgotten"):
        combined(card, "mean").predict(inputs(2))
    empty = replace(card, constituents=())
    assert empty.constituent(0) is None
    assert empty.digest != card.digest


# Files


def test_the_folder_holds_what_the_store_has(space, card, folder, records):
    assert [c.shard for c in card.constituents] == [0, 1, 2]
    names = {"model.json", *(weights_file(shard) for shard in range(3))}
    assert {path.name for path in folder.iterdir()} == names
    for member in card.constituents:
        assert (folder / weights_file(member.shard)).read_bytes() == export_weights(
            space.store, member.key
        )
    from_files, from_store = Ensemble.load(folder), Ensemble.from_store(card, space.store)
    assert from_files.card == card
    assert not any(network.training for network in from_files.networks)
    np.testing.assert_array_equal(
        from_files.member_probabilities(records.inputs),
        from_store.member_probabilities(records.inputs),
    )


def test_an_ensemble_predicts_with_its_members_weights(space, card, records):
    """A second writing of the network: two layers with a ReLU between them."""
    expected = []
    for member in card.constituents:
        state = {n: t.numpy() for n, t in weights_of(space.store.require(member.key)).items()}
        hidden = records.inputs @ state["0.1.weight"].T + state["0.1.bias"]
        logits = np.maximum(hidden, 0) @ state["0.3.weight"].T + state["0.3.bias"]
        expected.append(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    found = Ensemble.from_store(card, space.store).probabilities(records.inputs)
    np.testing.assert_allclose(found, np.mean(expected, axis=0), rtol=1e-4, atol=1e-6)


def test_weights_carry_no_optimizer(space, card):
    state = space.store.require(card.constituents[0].key)
    assert any(name.startswith("optimizer.") for name in state)
    assert b"optimizer" not in export_weights(space.store, card.constituents[0].key)


@pytest.mark.parametrize("position", [0, 8, 60, -1])
def test_an_altered_weights_file_is_refused(folder, position):
    path = folder / weights_file(1)
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerdictError, match="shard-001"):
        Ensemble.load(folder)


def test_missing_and_swapped_weights_files_are_refused(folder):
    first, second = folder / weights_file(0), folder / weights_file(1)
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    with pytest.raises(VerdictError, match="altered"):
        Ensemble.load(folder)
    first.write_bytes(data)
    second.unlink()
    with pytest.raises(VerdictError, match="missing"):
        Ensemble.load(folder)


def test_a_missing_state_is_refused(space, card, tmp_path):
    odd = replace(card.constituents[0], key="0" * 64)
    other = replace(card, constituents=(odd, *card.constituents[1:]))
    with pytest.raises(VerdictError, match="missing or corrupted"):
        Ensemble.from_store(other, space.store)
    with pytest.raises(VerdictError, match="missing or corrupted"):
        write_model(space.store, other, tmp_path / "model")


def test_a_failed_write_leaves_the_model_that_was_there(space, card, folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    odd = replace(card.constituents[2], weights="0" * 64)
    with pytest.raises(VerdictError, match="changed while"):
        write_model(space.store, replace(card, constituents=(*card.constituents[:2], odd)), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    write_model(space.store, replace(card, constituents=card.constituents[:1]), folder)
    assert {path.name for path in folder.iterdir()} == {"model.json", weights_file(0)}
    assert [path.name for path in folder.parent.iterdir()] == ["original"], "nothing is left over"


def test_writing_again_gives_the_same_bytes(space, card, folder, tmp_path):
    write_model(space.store, card, tmp_path / "again")
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


# Cards


def test_a_card_survives_json(card):
    assert from_json(ModelCard, json.loads(json.dumps(to_json(card)))) == card
    assert card.classes == 3


def test_a_card_says_what_the_model_is(space, card, records):
    assert (card.generation, card.parent, card.method, card.guarantee) == (
        "original",
        None,
        "build",
        "exact",
    )
    assert (card.records, card.forgotten, card.retain_digest) == (40, 0, records.digest)
    assert card.recipe == space.recipe.digest
    assert sum(member.records for member in card.constituents) == 40
    for member in card.constituents:
        chain = space.chain(member.shard, space.everything)
        assert (member.key, member.records) == (chain.key, chain.records)
        assert list(member.learned_from) == chain.slice_digests
    text = json.dumps(to_json(card))
    assert not any(one in text for one in (*records.record_ids, *records.subject_ids))


def test_the_digest_is_of_weights_and_not_of_history(card):
    told = replace(card, generation="b1", parent="original", method="sisa", forgotten=3)
    assert told.digest == card.digest
    assert card_digest(told) != card_digest(card)
    first = replace(card.constituents[0], weights="0" * 64)
    assert replace(card, constituents=(first, *card.constituents[1:])).digest != card.digest
    moved = replace(card.constituents[2], shard=7)
    assert replace(card, constituents=(*card.constituents[:2], moved)).digest != card.digest


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"{}", b"null", b'["abc"]', b"\xff\xfe", b'{"constituents": 3}']
)
def test_a_damaged_card_says_what_to_run(folder, text):
    (folder / "model.json").write_bytes(text)
    for read in (read_card, Ensemble.load):
        with pytest.raises(InputError, match="not a model card"):
            read(folder)


def test_a_card_of_another_version_is_named_so(folder, card):
    old = {**to_json(card), "guarantee": "exact"}
    del old["promise"], old["format"]
    (folder / "model.json").write_text(json.dumps(old))
    for read in (read_card, Ensemble.load):
        with pytest.raises(InputError, match=r"another version of forgetflow \(format 1"):
            read(folder)


def test_no_model_says_what_to_run(tmp_path):
    with pytest.raises(InputError, match="dvc repro"):
        Ensemble.load(tmp_path / "nothing")
