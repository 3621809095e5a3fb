"""Test accuracy over shards, with and without a frozen extractor, in one run.

Private are 10,000 records of the second half of MNIST's training set, tested on its 10,000 test
records; the half they come from is seen by no extractor. Two LeNets are public:

- one trained on Fashion-MNIST (60,000 records): other things than digits, but grey and as small;
- one trained on the first half of MNIST (30,000): the kind of records one hopes for.

Compared, for S = 1, 10, 20, 50 shards of one slice: LeNet and MLP on pixels, and a logistic head on
the features of each extractor, 10 epochs each (extractors: 3). Placement, weights and order change
with the seed. Prints the accuracy of the mean prediction vector, of a constituent alone, and times.

    FORGETFLOW_DATA=... python benchmarks/frozen.py [--quick] [--seeds 3]
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import forgetflow  # noqa: F401  (first: it sets the environment torch reads when imported)

# isort: split
import numpy as np
import yaml

from forgetflow.config.data import DataSettings
from forgetflow.config.project import Project
from forgetflow.partition.assignment import write_assignment
from forgetflow.partition.registry import place
from forgetflow.records.ingest import ingest
from forgetflow.records.record_set import RecordSet, read_record_set
from forgetflow.records.sources.registry import import_records
from forgetflow.serving.extractor import export_extractor
from forgetflow.studies.builds import builds
from forgetflow.studies.protocol import StudyData
from forgetflow.training.ensemble import Ensemble
from forgetflow.unlearning.runner import build_original

TRAIN = {"epochs": 10, "batch_size": 16, "learning_rate": 0.02}
PIXELS: dict[str, dict[str, Any]] = {
    "lenet": {"architecture": "lenet"},
    "mlp 128": {"architecture": "mlp", "hidden": [128]},
}
HEAD = {"architecture": "logistic", "normalize": "standard"}


def main() -> None:
    """Print one line per way and S."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the records, one seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shards", default="1,10,20,50")
    given = parser.parse_args()
    data = Path(os.environ["FORGETFLOW_DATA"])
    part, seeds = (10, 1) if given.quick else (1, given.seeds)
    shards = [int(one) for one in given.shards.split(",")]
    print(f"{platform.processor() or platform.machine()}, torch {version('torch')}, one thread")

    mnist = import_records(DataSettings(source="idx", path=str(data / "mnist")))
    fashion = import_records(DataSettings(source="idx", path=str(data / "fashion_mnist")))
    half = np.arange(len(mnist.train)) < len(mnist.train) // 2
    private = mnist.train.take(np.flatnonzero(~half)[: 10_000 // part])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        public = {
            "fashion": (fashion.train, fashion.test),
            "mnist half": (mnist.train.take(half), mnist.test),
        }
        ways: dict[str, Project] = {
            name: project(root / name, private, mnist.test, model) for name, model in PIXELS.items()
        }
        for name, (train, test) in public.items():
            some = train.take(np.arange(len(train) // part))
            donor = project(root / f"public {name}", some, test, PIXELS["lenet"], public=True)
            started = time.perf_counter()
            card = build_original(donor)
            seconds = time.perf_counter() - started
            right = accuracy(donor, test)
            print(
                f"extractor {name}: {card.records} records, {seconds:.0f} s, own test {right:.4f}"
            )
            digest = export_extractor(donor, "original", root / f"extractor {name}").digest
            named = {"extractor": str(root / f"extractor {name}"), "extractor_digest": digest}
            started = time.perf_counter()
            ways[f"head on {name}"] = project(root / name, private, mnist.test, HEAD, named)
            seconds = time.perf_counter() - started
            print(f"  import of {len(private) + len(mnist.test)} records: {seconds:.0f} s")
        print("way                  S   mean             lone    s/build")
        for name, one in ways.items():
            report(name, one, shards, seeds)


def project(
    root: Path,
    train: RecordSet,
    test: RecordSet,
    model: dict[str, Any],
    named: dict[str, str] | None = None,
    *,
    public: bool = False,
) -> Project:
    """Return a project of these records, imported as a person would; public ones are monoliths."""
    root.mkdir()
    arrays: dict[str, Any] = {}
    for side, records in (("train", train), ("test", test)):
        arrays |= {
            f"x_{side}": (records.inputs * 255).round().astype(np.uint8),
            f"y_{side}": records.labels,
            f"record_id_{side}": np.array(records.record_ids),
        }
    np.savez(root / "data.npz", **arrays)
    blocks = {
        "data": {"source": "npz", "path": "data.npz", **(named or {})},
        "model": model,
        "train": TRAIN | ({"epochs": 3} if public else {}),
        "partition": {"method": "monolith"} if public else {"shards": 2, "slices": 1},
        "run": {"device": "cpu"},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(blocks))
    made = Project(root)
    ingest(made)
    records, settings = read_record_set(made.train), made.settings
    placed = place(records, settings.partition, settings.run.seed)
    write_assignment(records, placed, made.partition / "assignment.parquet")
    return made


def accuracy(one: Project, test: RecordSet) -> float:
    """Return the share of test records that the original model of a project gets right."""
    found = Ensemble.load(one.model("original")).predict(test.inputs)
    return float((found == test.labels).mean())


def report(name: str, one: Project, shards: list[int], seeds: int) -> None:
    """Train and print one way for every S."""
    data = StudyData.open(one)
    for number in shards:
        made = builds(data, number, 1, seeds)
        mean = [build.mean for build in made]
        spread = statistics.stdev(mean) if seeds > 1 else 0.0
        lone = statistics.mean(build.lone for build in made)
        seconds = statistics.mean(build.seconds for build in made)
        print(
            f"{name:20} {number:3d} {statistics.mean(mean):.4f} +- {spread:.4f} {lone:.4f} "
            f"{seconds:8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
