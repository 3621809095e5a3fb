"""The GPU benchmark runs as a toy on a CPU, and its own arithmetic is right."""

import json
import lzma
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu_data import cifar10
from benchmarks.gpu_sheet import Sheet

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_toy_runs_all_parts(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--toy", "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["failed"] == []
    assert {row["part"] for row in found["rows"]} == set("abcdef")
    assert "does not hold" not in (tmp_path / "gpu.md").read_text()
    assert (tmp_path / "profile-device.txt").stat().st_size > 0


# The sheet


@pytest.fixture
def sheet(tmp_path):
    return Sheet({"gpu": "none"}, tmp_path / "out", 100.0)


def test_a_failing_check_is_named_and_the_others_run(sheet, capsys):
    def fails():
        sheet.add("a", "before", "1", "1")
        raise ValueError("no such kernel")

    sheet.attempt("a first", fails)
    sheet.attempt("a second", lambda: sheet.promise("a", "bytes", "equal", "2", holds=True))
    assert sheet.failed == ["a first (ValueError)"]
    assert [row.what for row in sheet.rows] == ["before", "bytes"]
    assert "no such kernel" in capsys.readouterr().out
    kept = json.loads((sheet.folder / "gpu.json").read_text())
    assert kept["failed"] == sheet.failed
    assert "| a | bytes | equal | 2 | holds |" in (sheet.folder / "gpu.md").read_text()


def test_a_broken_promise_fails_and_a_missed_goal_does_not(sheet):
    sheet.goal("d", "100 x", "3 x", "1", met=False)
    assert sheet.failed == []
    sheet.promise("b", "bytes", "different", "2", holds=False)
    assert sheet.failed == ["b bytes"]


def test_no_check_starts_when_the_time_is_over(sheet):
    sheet.seconds = -1.0
    sheet.attempt("e late", lambda: pytest.fail("it started"))
    assert sheet.failed == ["e late (no time left)"]


# Images


@pytest.fixture
def batches(tmp_path):
    """Two training batches and a test batch of 20 records each; the first is compressed."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (60, 3073), np.uint8)
    rows[:, 0] %= 10
    packed = lzma.compress(rows[:20].tobytes())
    (tmp_path / "data_batch_1.bin.xz").write_bytes(packed)
    (tmp_path / "data_batch_2.bin").write_bytes(rows[20:40].tobytes())
    (tmp_path / "test_batch.bin").write_bytes(rows[40:].tobytes())
    return tmp_path, rows


def test_all_batches_of_a_folder_are_read(batches):
    folder, rows = batches
    data = cifar10(folder)
    assert data.train.labels.tolist() == rows[:40, 0].tolist()
    assert data.test.labels.tolist() == rows[40:, 0].tolist()
    expected = (rows[:40, 1:] / 255).astype(np.float32).reshape(-1, 3, 32, 32)
    assert np.allclose(data.train.inputs, expected)


def test_without_a_test_batch_a_tenth_is_held_out(batches):
    folder, rows = batches
    (folder / "test_batch.bin").unlink()
    data = cifar10(folder)
    assert data.train.labels.tolist() == rows[:36, 0].tolist()
    assert data.test.labels.tolist() == rows[36:40, 0].tolist()
    assert "held out" in data.name


def test_a_few_come_from_the_first_batch(batches):
    folder, rows = batches
    data = cifar10(folder, (7, 5))
    assert data.train.labels.tolist() == rows[:7, 0].tolist()
    assert data.test.labels.tolist() == rows[40:45, 0].tolist()
