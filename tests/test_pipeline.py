"""The laws of the whole product, through DVC, Prefect and MLflow, on the real digits.

One Prefect server serves all projects of the session; every project is a folder of its own. One is
made by `dvc repro` (`TestTwoRoutes`), every stage a new Python, and one from other records; the
others start as copies of one.
"""

import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forgetflow.keys.digests import bytes_digest
from tests.tasks import task_states

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def weights(folder: Path) -> dict[str, str]:
    """File name -> digest of every file of a model generation."""
    return {path.name: bytes_digest(path.read_bytes()) for path in sorted(folder.iterdir())}


def shard_weights(folder: Path) -> dict[str, str]:
    return {name: digest for name, digest in weights(folder).items() if name != "model.json"}


def stored_states(project) -> dict[str, str]:
    return {
        path.name: bytes_digest(path.read_bytes())
        for path in sorted((project.root / "store" / "objects").rglob("*.safetensors"))
    }


@pytest.fixture(scope="module")
def built(original, copy_project, prefect_home):
    """A project with the original model and two deletion batches, made by the triggered flow."""
    project = copy_project(original, "built")
    project.cli("request", "add", "--subject", "writer-007", "--id", "one-person")
    project.cli("seal")
    project.cli("forget", "b1")
    project.observed["unlearn b1"] = task_states(prefect_home, project, "b1")
    inbox = project.root / "data" / "inbox"
    inbox.mkdir(parents=True)
    (inbox / "more.csv").write_text(
        "request_id,subject\n" + "".join(f"r{n},writer-{n:03d}\n" for n in (20, 21, 22, 24, 25))
    )
    done = project.run("forgetflow", "forget")
    assert done.returncode == 0, done.stderr
    return project


class TestTriggeredDeletion:
    def test_publishes_the_next_generation(self, built):
        rows = json.loads(built.cli("request", "list", "--json"))
        assert {row["state"] for row in rows} == {"published"}
        assert {row["batch"] for row in rows} == {"b1", "b2"}

    def test_leaves_dvc_clean_and_nothing_to_reproduce(self, built):
        before = weights(built.root / "models" / "b2")
        assert "up to date" in built.dvc("status")
        output = built.dvc("repro")
        assert "Running stage" not in output
        assert weights(built.root / "models" / "b2") == before

    def test_verifies_byte_for_byte(self, built):
        verdict = json.loads(built.cli("verify", "b2", "--json"))
        assert verdict["passed"]
        assert verdict["compared"] == 4

    def test_keeps_untouched_shards(self, built):
        original = shard_weights(built.root / "models" / "original")
        after = shard_weights(built.root / "models" / "b1")
        changed = {name for name in original if original[name] != after[name]}
        assert len(changed) == 1

    def test_says_what_it_cost(self, built):
        metrics = json.loads((built.root / "evaluation" / "b1" / "metrics.json").read_text())
        points = metrics["points"]
        assert 0 < points["counted"] < points["full_retraining"]
        assert points["counted"] == pytest.approx(points["predicted"], rel=0.02)

    def test_shows_the_family_tree(self, built):
        tree = json.loads(built.cli("lineage", "show", "--format", "json"))
        generations = {v["generation"]: v for v in tree["versions"]}
        assert list(generations) == ["original", "b1", "b2"]
        assert [v["version"] for v in tree["versions"]] == [1, 2, 3]
        assert "serving" in generations["b2"]["aliases"]

    def test_seal_and_forget_again_change_nothing(self, built):
        before = (built.root / "data/forget/batches.yaml").read_bytes()
        ledger = (built.root / "data/forget/ledger.jsonl").read_bytes()
        built.cli("seal")
        built.cli("forget", "b2")
        assert (built.root / "data/forget/batches.yaml").read_bytes() == before
        assert (built.root / "data/forget/ledger.jsonl").read_bytes() == ledger
        assert "up to date" in built.dvc("status")


class TestTwoRoutes:
    def test_repro_gives_the_bytes_of_the_triggered_flow(self, built, new_project):
        """Same sealed batches, built from nothing by DVC alone."""
        project = new_project("repro")
        for name in ("b1.parquet", "b2.parquet", "batches.yaml", "ledger.jsonl"):
            source = built.root / "data" / "forget" / name
            (project.root / "data" / "forget" / name).write_bytes(source.read_bytes())
        project.dvc("add", "--quiet", "data/forget/b1.parquet", "data/forget/b2.parquet")
        project.repro()
        assert stored_states(project) == stored_states(built)
        for generation in ("original", "b1", "b2"):
            here, there = (p.root / "models" / generation for p in (project, built))
            assert weights(here) == weights(there)

    def test_fresh_build_without_the_records_has_the_same_weights(self, built, new_project):
        """original + b1 + b2 == one build from a source that never held those records."""
        import numpy as np

        from forgetflow.records.record_set import read_record_set
        from forgetflow.requests.manifest import read_manifest

        forgotten = set()
        for batch in ("b1", "b2"):
            manifest = read_manifest(built.root / "data" / "forget" / f"{batch}.parquet")
            forgotten |= set(manifest.record_ids)
        project = new_project("fresh")
        arrays = {}
        for split in ("train", "test"):
            records = read_record_set(built.root / "data" / split)
            kept = records.without(forgotten)
            arrays |= {
                f"x_{split}": kept.inputs,
                f"y_{split}": kept.labels,
                f"record_id_{split}": np.array(kept.record_ids),
                f"subject_{split}": np.array(kept.subject_ids),
            }
        np.savez(project.root / "left.npz", **arrays)
        project.cli("data", "import", "npz", "--path", str(project.root / "left.npz"))
        project.build("ingest", "partition", "train")
        fresh = shard_weights(project.root / "models" / "original")
        assert fresh == shard_weights(built.root / "models" / "b2")

    def test_deleting_outputs_and_caches_restores_the_same_bytes(self, built):
        before = {g: weights(built.root / "models" / g) for g in ("original", "b1", "b2")}
        states = stored_states(built)
        for name in ("models", "store", "attribution", "report", "data/train", "data/partition"):
            subprocess.run(["rm", "-rf", str(built.root / name)], check=True)
        subprocess.run(["rm", "-rf", str(built.root / ".dvc/cache/files/md5")], check=True)
        # The manifests are what people asked for, not an output: they stay.
        deletions = [
            f"{stage}@{batch}" for batch in ("b1", "b2") for stage in ("forget", "evaluate")
        ]
        built.build("ingest", "partition", "train", "attribute", *deletions, "report")
        after = {g: weights(built.root / "models" / g) for g in ("original", "b1", "b2")}
        assert after == before
        assert stored_states(built) == states


class TestCachedTasks:
    def test_untouched_shards_are_cached_and_one_is_trained(self, built):
        assert sorted(built.observed["unlearn b1"]) == ["Cached", "Cached", "Cached", "Completed"]

    def test_all_shards_are_cached_in_a_second_run(self, built, prefect_home):
        built.cli("forget", "b1")
        assert task_states(prefect_home, built, "b1") == ["Cached"] * 4

    def test_lost_or_damaged_states_are_rebuilt_and_never_served(self, built):
        card = json.loads((built.root / "models/b2/model.json").read_text())
        keys = [member["key"] for member in card["constituents"]]
        objects = built.root / "store" / "objects"
        lost, damaged = (objects / key[:2] / f"{key}.safetensors" for key in keys[:2])
        before = {lost: lost.read_bytes(), damaged: damaged.read_bytes()}
        lost.unlink()
        spoiled = bytearray(before[damaged])
        spoiled[-1] ^= 1
        damaged.write_bytes(spoiled)
        built.cli("forget", "b2")
        assert {path: path.read_bytes() for path in before} == before
        assert built.run_cli("doctor").returncode == 0


class TestKilled:
    def test_a_killed_deletion_resumes_to_the_same_bytes(self, built, original, copy_project):
        """SIGKILL at several moments; then the same command finishes the job."""
        project = copy_project(original, "killed")
        project.cli("request", "add", "--subject", "writer-007", "--id", "one-person")
        for made in ("data/forget/b1.parquet", "models/b1", "evaluation/b1"):
            process = project.start("forget")
            wait_for((project.root / made).exists, process)
            process.send(signal.SIGKILL)
            assert process.wait().returncode == -signal.SIGKILL, made
        project.cli("forget")
        assert "up to date" in project.dvc("status")
        here = shard_weights(project.root / "models" / "b1")
        assert here == shard_weights(built.root / "models" / "b1")
        batches = (project.root / "data/forget/batches.yaml").read_text()
        assert batches.count("parent:") == 1
        tree = json.loads(project.cli("lineage", "show", "--format", "json"))
        assert [v["generation"] for v in tree["versions"]] == ["original", "b1"]


class TestEventTrigger:
    def test_sealing_starts_the_served_flow(self, original, copy_project, prefect_home):
        project = copy_project(original, "served")
        server = project.start_module("flows.serve")
        try:
            wait_for(lambda: "on-sealed-batch" in deployments(prefect_home), server)
            project.cli("request", "add", "--subject", "writer-007", "--id", "one-person")
            project.cli("seal")
            lock = project.root / "dvc.lock"
            wait_for(lambda: "evaluate@b1" in lock.read_text(), server)
            unfinished = project.root / ".forgetflow" / "unfinished.json"
            wait_for(lambda: json.loads(unfinished.read_text()) == [], server)
            assert "up to date" in project.dvc("status")
            assert "published" in project.cli("request", "list")
        finally:
            server.send(signal.SIGTERM)
            server.wait()


def deployments(prefect_home: Path) -> list[str]:
    with sqlite3.connect(prefect_home / "prefect.db") as database:
        return [row[0] for row in database.execute("select name from deployment")]


def wait_for(condition, process, seconds: float = 180) -> None:
    """Wait until something has happened that a command on its way brings about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.running(), "it ended and it had not happened"
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class TestGate:
    def test_a_failed_gate_registers_but_does_not_publish(self, original, copy_project):
        project = copy_project(original, "gate")
        project.change({"gate.min_test_accuracy": 0.999})
        project.build("train")
        project.cli("request", "add", "--label", "3", "--id", "a-class")
        project.cli("seal")
        failed = project.run_cli("forget", "b1", "--method", "finetune")
        assert failed.returncode == 3
        assert "gate failed for b1" in failed.stderr
        tree = json.loads(project.cli("lineage", "show", "--format", "json"))
        newest = tree["versions"][-1]
        assert newest["method"] == "finetune"
        assert newest["guarantee"] == "approximate"
        assert "serving" not in newest["aliases"]
        assert "up to date" in project.dvc("status")


def content(path: Path) -> bytes:
    """What a file holds: nothing, if it is a folder or the server has removed it meanwhile."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return b""


class TestPersonalData:
    SECRETS = re.compile(rb"digit-\d{4}|writer-\d{3}")

    def test_none_in_git_tracked_files_databases_or_logs(self, built, prefect_home):
        """Ids live in DVC-tracked data and the store only. Sources, docs and the demo name them."""
        built.git("add", "-A")
        tracked = built.git("ls-files", "-z").split("\0")
        code = ("src/", "tests/", "docs/", "tools/", "benchmarks/", "README", "CONTRIBUTING")
        places = [built.root / name for name in tracked if name and not name.startswith(code)]
        places += sorted(built.root.glob("mlartifacts/**/*"))
        places += sorted((built.root / ".forgetflow").rglob("*"))
        places += sorted(prefect_home.rglob("*"))
        places += [built.root / "report" / "report.html", built.root / "mlflow.db"]
        leaks = [path for path in places if self.SECRETS.search(content(path))]
        assert leaks == []

    def test_databases_hold_what_they_should(self, built, prefect_home):
        """The search above would find nothing in an empty or missing database either."""
        with sqlite3.connect(built.root / "mlflow.db") as mlflow:
            assert mlflow.execute("select count(*) from model_versions").fetchone()[0] == 3
        with sqlite3.connect(prefect_home / "prefect.db") as prefect:
            assert prefect.execute("select count(*) from task_run").fetchone()[0] > 20


def test_help_is_quick_to_import():
    """The command line imports none of the heavy libraries before a verb needs them."""
    heavy = ["torch", "numpy", "pyarrow", "pydantic", "mlflow", "prefect", "dvc", "sklearn"]
    code = f"import sys, forgetflow.cli.main; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
