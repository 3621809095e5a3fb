import pytest
import yaml

from forgetflow.errors import InputError, VerdictError
from forgetflow.requests.batches import (
    batch_manifest,
    forgotten_ids,
    read_batches,
    sealed_manifests,
    write_batches,
)
from forgetflow.requests.intake import add_request
from forgetflow.requests.manifest import manifest_path
from forgetflow.requests.seal import seal


@pytest.fixture
def path(project):
    return project.forget / "batches.yaml"


@pytest.fixture
def three(project, now):
    """Three sealed batches: eve, then bob, then ann."""
    for subject in ("eve", "bob", "ann"):
        add_request(project, {"subject": subject}, now)
        seal(project, now)
    return project


def test_no_file_and_no_batches_are_the_same(project, path):
    assert read_batches(project) == {}
    write_batches(project, {})
    assert yaml.safe_load(path.read_text()) == {"batches": {}}
    assert read_batches(project) == {}


def test_plain_yaml_that_dvc_can_read(three, path):
    content = yaml.safe_load(path.read_text())["batches"]
    assert list(content) == ["b1", "b2", "b3"]
    assert content["b2"] == {
        "parent": "b1",
        "method": "sisa",
        "manifest": batch_manifest(three, "b2").digest,
        "records": 2,
        "requests": 1,
        "sealed_at": "2026-01-05T12:00:00Z",
        "due_at": "2026-02-04T12:00:00Z",
    }
    before = path.read_bytes()
    write_batches(three, read_batches(three))
    assert path.read_bytes() == before


def test_forgotten_ids_are_those_of_the_whole_chain(three):
    assert forgotten_ids(three, "original") == []
    assert forgotten_ids(three, "b1") == ["r5"]
    assert forgotten_ids(three, "b2") == ["r3", "r4", "r5"]
    assert forgotten_ids(three, "b3") == ["r0", "r1", "r2", "r3", "r4", "r5"]
    assert batch_manifest(three, "b2").record_ids == ("r3", "r4")
    assert [one.parent for one in sealed_manifests(three)] == ["original", "b1", "b2"]
    with pytest.raises(InputError, match="no batch 'b4'; sealed batches: b1, b2, b3"):
        forgotten_ids(three, "b4")
    with pytest.raises(InputError, match="forgets nothing"):
        batch_manifest(three, "original")


def test_an_altered_ancestor_is_noticed(three):
    manifest_path(three, "b1").write_bytes(manifest_path(three, "b2").read_bytes())
    with pytest.raises(VerdictError, match=r"b1\.parquet is the manifest of b2"):
        forgotten_ids(three, "b3")
    manifest_path(three, "b1").unlink()
    with pytest.raises(VerdictError, match=r"b1\.parquet is missing"):
        forgotten_ids(three, "b3")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda b: b["b2"].update(parent="original"), r"batches\.b2\.parent: must be b1"),
        (lambda b: b["b1"].update(parent="b1"), r"batches\.b1\.parent: must be original"),
        (lambda b: b["b2"].update(colour=1), r"batches\.b2\.colour: Extra inputs"),
        (lambda b: b["b2"].update(records=0), r"batches\.b2\.records: "),
        (lambda b: b["b2"].update(manifest="12"), r"batches\.b2\.manifest: "),
        (lambda b: b["b2"].update(method="Some text"), r"batches\.b2\.method: "),
        (lambda b: b["b2"].update(due_at="soon"), r"batches\.b2\.due_at: "),
        (lambda b: b["b2"].pop("sealed_at"), r"batches\.b2\.sealed_at: Field required"),
        (lambda b: b.update(b2=3), r"batches\.b2: Input should be"),
        (lambda b: b.pop("b1"), r"batches\.b2: expected b1 here"),
        (lambda b: b.update(x=b.pop("b3")), r"batches\.x: expected b3 here"),
    ],
)
def test_what_is_out_of_line_is_named(three, path, change, key):
    content = yaml.safe_load(path.read_text())
    change(content["batches"])
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(InputError, match=key):
        read_batches(three)


@pytest.mark.parametrize(
    "text", ["", "[]", "batches:", "batches: []", "a: {}", "{", "batches: {}\nx: 1"]
)
def test_another_file_is_refused(project, path, text):
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(InputError, match=r"batches\.yaml"):
        read_batches(project)


def test_unquoted_times_are_read_too(three, path):
    before = read_batches(three)
    path.write_text(path.read_text().replace("'", ""))
    assert read_batches(three) == before
