"""Verification passes for what was made, and for nothing else."""

import json
import shutil

import pytest

from forgetflow.errors import InputError, VerdictError
from forgetflow.files.jsonable import to_json
from forgetflow.requests.batches import forgotten_ids
from forgetflow.training import environment
from forgetflow.training.workspace import Workspace
from forgetflow.unlearning.verify import verify_generation

FIRST = ({"record": "r0005"}, {"subject": "s0010"})
SECOND = ({"subject": "s0012"}, {"label": "b"})


@pytest.fixture(scope="module")
def forgotten(copy_folder, built_folder):
    folder = copy_folder(built_folder)
    folder.forget(*FIRST)
    return folder


@pytest.fixture
def folder(copy_folder, forgotten):
    """A project with an original model and a first deletion."""
    return copy_folder(forgotten)


def verify(folder, generation):
    return verify_generation(folder.project, generation)


def passes(folder, generation):
    """Return whether a verification ends well: no error, and nothing different."""
    try:
        return verify(folder, generation).passed
    except (InputError, VerdictError):
        return False


def change_card(folder, generation, change):
    """Edit a card; returns a function that undoes it."""
    path = folder.project.model(generation) / "model.json"
    text = path.read_text()
    card = json.loads(text)
    change(card)
    path.write_text(json.dumps(card, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    return lambda: path.write_text(text)


@pytest.mark.parametrize("method", ["sisa", "retrain"])
def test_what_was_built_passes(folder, method, count_samples):
    second = folder.forget(*SECOND, method=method)
    for generation in ("original", "b1", "b2"):
        count_samples.clear()
        verdict = verify(folder, generation)
        assert verdict.passed
        assert to_json(verdict)["passed"]
        assert (verdict.generation, verdict.guarantee) == (generation, "exact")
        assert (verdict.compared, verdict.different) == (3, ())
        assert sum(count_samples) > 0, "it was built again, not looked up"
        assert verdict.ledger_entries == 2
    assert verdict.weights == second.digest


def test_a_model_of_nobody_passes(folder):
    folder.forget({"label": "a"}, {"label": "b"}, {"label": "c"})
    verdict = verify(folder, "b2")
    assert verdict.passed
    assert verdict.compared == 0


@pytest.mark.parametrize("method", ["none", "finetune", "ascent"])
def test_an_approximate_model_is_checked_but_not_built_again(folder, method, count_samples):
    folder.forget(*SECOND, method=method)
    count_samples.clear()
    verdict = verify(folder, "b2")
    assert verdict.passed
    assert (verdict.guarantee, verdict.compared) == ("approximate", 0)
    assert count_samples == []


def test_verifying_changes_no_file(folder):
    before = folder.tree()
    verify(folder, "b1")
    assert folder.tree() == before


def test_it_passes_after_the_records_were_erased(folder, records):
    gone = forgotten_ids(folder.project, "b1")
    folder.replace_records(records.without(gone))
    space = Workspace.open(folder.project)
    for receipt in space.store.learned_from(records.digests[records.mask(gone)]):
        space.store.remove(receipt.key)
    assert passes(folder, "b1")
    assert not passes(folder, "original"), "what it was made of is gone"


@pytest.mark.parametrize("generation", ["original", "b1"])
@pytest.mark.parametrize("position", [0, 40, -1])
def test_one_byte_of_a_weights_file(folder, generation, position):
    path = sorted(folder.project.model(generation).glob("*.safetensors"))[1]
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerdictError, match="altered"):
        verify(folder, generation)


CHANGES = {
    "generation": "b7",
    "parent": "b7",
    "method": "retrain",
    "promise": {"kind": "approximate"},
    "format": 3,
    "aggregation": "vote",
    "class_names": ["a", "c", "b"],
    "input_shape": [3, 2],
    "architecture": {"architecture": "mlp", "hidden": [4], "normalize": "none"},
    "records": 1,
    "retain_digest": "0" * 64,
    "forgotten": 1,
    "manifests": ["0" * 64],
    "environment": {"torch": "9"},
    "recipe": "0" * 64,
    "constituents": [],
    "features": {"kind": "tensor", "shape": [7], "dtype": "float32"},
}


def test_the_list_of_facts_is_complete(folder):
    card = json.loads((folder.project.model("b1") / "model.json").read_text())
    assert card.keys() == CHANGES.keys()
    assert all(card[name] != value for name, value in CHANGES.items())


@pytest.mark.parametrize("generation", ["original", "b1"])
@pytest.mark.parametrize("name", CHANGES)
def test_one_fact_of_the_card(folder, generation, name):
    change_card(folder, generation, lambda card: card.update({name: CHANGES[name]}))
    assert not passes(folder, generation)


@pytest.mark.parametrize("generation", ["original", "b1"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shard", 8),
        ("key", "0" * 64),
        ("weights", "0" * 64),
        ("records", 1),
        ("learned_from", []),
    ],
)
def test_one_fact_of_a_constituent(folder, generation, name, value):
    def change(card):
        assert card["constituents"][1][name] != value
        card["constituents"][1][name] = value

    change_card(folder, generation, change)
    assert not passes(folder, generation)


@pytest.mark.parametrize("generation", ["original", "b1"])
def test_a_clone_without_checkpoints_is_judged_by_the_rebuild(folder, generation):
    shutil.rmtree(folder.project.store)
    assert verify(folder, generation).compared == 3
    for name, value in (("records", 1), ("learned_from", []), ("key", "0" * 64)):
        undo = change_card(
            folder, generation, lambda card, n=name, v=value: card["constituents"][1].update({n: v})
        )
        assert not passes(folder, generation), name
        undo()
    assert passes(folder, generation)


@pytest.mark.parametrize("generation", ["original", "b1"])
def test_one_digit_of_a_key(folder, generation):
    def change(card):
        key = card["constituents"][0]["key"]
        card["constituents"][0]["key"] = key[:-1] + ("1" if key[-1] == "0" else "0")

    change_card(folder, generation, change)
    assert not passes(folder, generation)


@pytest.mark.parametrize("generation", ["original", "b1"])
def test_another_model_in_its_place(folder, generation):
    """Weights, file digests and keys all fit each other, but not the records that are left."""
    other = "b1" if generation == "original" else "original"
    model, source = folder.project.model(generation), folder.project.model(other)
    for path in source.iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    change_card(folder, generation, lambda card: card.update(generation=generation))
    assert not passes(folder, generation)


@pytest.mark.parametrize("generation", ["original", "b1"])
def test_other_records_are_left(folder, records, generation):
    folder.replace_records(records.without(["r0033"]))
    assert not passes(folder, generation)


def test_a_model_whose_store_state_was_forged_along_with_it(folder, records, lab):
    """The key is right and the bytes fit it, but training gives others: only building tells."""
    card_path = folder.project.model("b1") / "model.json"
    card = json.loads(card_path.read_text())
    space = Workspace.open(folder.project)
    key = card["constituents"][0]["key"]
    receipt, tensors = space.store.receipt(key), space.store.require(key)
    tensors["model.0.1.bias"] += 0.5
    space.store.put(
        key, tensors, kind="state", learned_from=receipt.learned_from, facts=receipt.facts
    )
    forged = folder.unlearn("b1")
    assert forged.constituents[0].weights != card["constituents"][0]["weights"]
    verdict = verify(folder, "b1")
    assert not verdict.passed
    assert verdict.different == (card["constituents"][0]["shard"],)
    assert not to_json(verdict)["passed"]


def test_another_manifest_or_ledger(folder, make_folder, records):
    other = make_folder(records)
    other.seal({"record": "r0005"}, {"record": "r0006"})
    swapped = (other.project.forget / "b1.parquet").read_bytes()
    edits = {
        "b1.parquet": lambda _: swapped,
        "ledger.jsonl": lambda data: data.replace(b'"records":3', b'"records":2'),
    }
    for name, edit in edits.items():
        path = folder.project.forget / name
        data = path.read_bytes()
        path.write_bytes(edit(data))
        assert path.read_bytes() != data
        with pytest.raises(VerdictError):
            verify(folder, "b1")
        path.write_bytes(data)
    assert passes(folder, "b1")


def test_another_numeric_environment_is_named(folder, monkeypatch):
    found = environment.fingerprint(Workspace.open(folder.project).recipe.device)
    monkeypatch.setattr(environment, "fingerprint", lambda _: found | {"cpu_capability": "OTHER"})
    for generation in ("original", "b1"):
        with pytest.raises(VerdictError, match="another numeric environment"):
            verify(folder, generation)


def test_other_settings_are_not_those_of_the_model(folder):
    path = folder.project.root / "params.yaml"
    path.write_text(path.read_text().replace("learning_rate: 0.1\n", "learning_rate: 0.2\n", 1))
    fresh = type(folder)(type(folder.project)(folder.project.root))
    assert not passes(fresh, "b1")
    assert not passes(fresh, "original")


def test_no_such_generation(folder):
    with pytest.raises(InputError, match="no batch 'b9'"):
        verify(folder, "b9")


def test_needs_no_checkpoints(folder):
    """A clone that pulled data and models, but has no store, can verify too."""
    shutil.rmtree(folder.project.store)
    verdict = verify(folder, "b1")
    assert verdict.passed
    assert verdict.compared
