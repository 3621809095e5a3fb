"""The product on a GPU: the same numbers, the same bytes, exact deletion, and speed.

    a  the accuracy of the CPU, and the largest difference in a predicted probability
    b  the same bytes twice, and once more in a fresh process
    c  a deletion leaves the bytes of a build without the records
    d  pools: members a second against the loop everyone writes
    e  ResNet-9 on images: seconds an epoch as the product trains, and what lower precision,
       CUDA graphs and the compiler would add
    f  where the time of a pool and of a step goes

Needs torch, numpy, pyarrow, safetensors, pydantic, PyYAML and scikit-learn (for the digits). Ends
in a table; `--out` also keeps it as gpu.json and gpu.md. The exit code is 1 if a check failed or
a promise did not hold.

    python -m benchmarks.gpu --device cuda --cifar10 FOLDER [--parts abcdef] [--out FOLDER]
    python -m benchmarks.gpu --toy
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import forgetflow  # noqa: F401  (first: it sets the environment torch reads when imported)

# isort: split
import numpy as np
import yaml

from benchmarks import gpu_pools, gpu_profile, gpu_resnet9
from benchmarks.gpu_data import Bench, Data, accuracy, as_pool, probabilities, train
from benchmarks.gpu_sheet import Sheet, machine_facts
from forgetflow.config.project import Project
from forgetflow.keys.digests import digest_of
from forgetflow.partition.assignment import write_assignment
from forgetflow.partition.registry import place
from forgetflow.records.record_set import RecordSet, write_record_set
from forgetflow.requests.intake import add_request
from forgetflow.requests.seal import seal
from forgetflow.training import environment
from forgetflow.training.recipe import STACKABLE
from forgetflow.unlearning.protocol import jobs_of
from forgetflow.unlearning.registry import method_named
from forgetflow.unlearning.runner import Deletion, build_original, unlearn

REPOSITORY = Path(__file__).parents[1]
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def main() -> None:
    """Measure, print, and exit with 1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--toy", action="store_true", help="tiny sizes: does it run at all?")
    parser.add_argument("--cifar10", type=Path, help="folder of data_batch_*.bin[.xz]")
    parser.add_argument("--parts", default="abcdef", help="letters of the parts to run")
    parser.add_argument("--seconds", type=float, default=480, help="checks start within so many")
    parser.add_argument("--out", type=Path, help="folder for gpu.json and gpu.md")
    parser.add_argument("--digests", action="store_true", help="print the digests of part b only")
    given = parser.parse_args()
    bench = Bench(environment.activate(given.device), given.toy, given.cifar10)
    if given.digests:
        print(json.dumps(all_digests(bench)))
        return
    sheet = Sheet(machine_facts(bench.device), given.out, given.seconds)
    print("; ".join(f"{name} {value}" for name, value in sheet.machine.items()), flush=True)
    parts = {
        "a": same_accuracy,
        "b": same_bytes,
        "c": exact_deletion,
        "d": gpu_pools.measure,
        "e": gpu_resnet9.measure,
        "f": gpu_profile.measure,
    }
    for letter, part in parts.items():
        if letter in given.parts:
            sheet.attempt(f"part {letter}", partial(part, bench, sheet))
    sheet.write()
    print(f"\n{sheet.markdown()}", flush=True)
    sys.exit(1 if sheet.failed else 0)


# a: the accuracy of the CPU ---------------------------------------------------------------


def same_accuracy(bench: Bench, sheet: Sheet) -> None:
    """Train on the CPU and on the device, and compare what both predict."""
    settings = {"epochs": bench.size(20, 1), "batch_size": 64, "learning_rate": 0.05}
    for architecture in ("mlp", "lenet"):
        sheet.attempt(f"a {architecture}", partial(_both, bench, sheet, architecture, settings))


def _both(bench: Bench, sheet: Sheet, architecture: str, settings: dict[str, Any]) -> None:
    data, predicted, right = bench.digits, [], []
    for where in (bench, Bench(environment.activate("cpu"), bench.toy, bench.folder)):
        recipe = where.recipe(data, {"architecture": architecture}, **settings)
        (weights,) = train(where, [recipe], data.samples).weights
        predicted.append(probabilities(recipe, weights, data.test))
        right.append(accuracy(recipe, weights, data.test))
    distance = float(np.abs(predicted[0] - predicted[1]).max())
    sheet.promise(
        "a",
        f"{architecture}, {data.name}: test accuracy {bench.device.type} / cpu",
        f"{right[0]:.4f} / {right[1]:.4f}, probabilities at most {distance:.1e} apart",
        f"{len(data.train)} records, {len(data.test)} tested",
        abs(right[0] - right[1]) <= 0.01,
    )


# b: the same bytes ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Case:
    """A training whose bytes are compared.

    Attributes:
        name: as printed.
        data: what it learns from.
        model, train: settings.
        pool: members that train together, whose bits may depend on each other; 0: one alone.
    """

    name: str
    data: Data
    model: Mapping[str, Any]
    train: Mapping[str, Any]
    pool: int = 0

    def digest(self, bench: Bench) -> str:
        """Train and return the digest of all final states, optimizer memory included."""
        recipe = bench.recipe(self.data, dict(self.model), **self.train)
        recipes = [replace(recipe, seed=seed) for seed in range(max(self.pool, 1))]
        if self.pool:
            recipes = [as_pool(one) for one in recipes]
        done = train(bench, recipes, self.data.samples)
        return digest_of([receipt.sha256 for receipt in done.receipts])


def cases(bench: Bench) -> list[Case]:
    """Return the trainings of part b."""
    digits = bench.digits
    images = bench.few
    steps = {"epochs": bench.size(5, 1), "batch_size": 32, "learning_rate": 0.05}
    large = {"epochs": bench.size(2, 1), "batch_size": bench.size(128, 12), "learning_rate": 0.05}
    adam = steps | {"optimizer": "adam", "learning_rate": 0.001}
    alone, half = {"engine": "sequential"}, {"precision": "bfloat16"}
    mlp, lenet, resnet9 = ({"architecture": name} for name in ("mlp", "lenet", "resnet9"))
    normal = {"normalize": "standard"}
    return [
        Case("mlp, sequential", digits, mlp | normal, steps | alone),
        Case("mlp, stacked", digits, mlp | normal, steps),
        Case("mlp, stacked, Adam", digits, mlp, adam),
        Case("lenet, sequential", digits, lenet | normal, steps),
        Case("lenet, sequential, Adam", digits, lenet, adam),
        Case("resnet9, sequential", images, resnet9 | normal, large),
        Case("lenet, sequential, bfloat16", digits, lenet, steps | half),
        Case("resnet9, sequential, bfloat16", images, resnet9, large | half),
        Case("mlp, pool of 8", digits, mlp, steps, pool=8),
        Case("lenet, pool of 8", digits, lenet, steps, pool=8),
        Case("resnet9, pool of 2", images, resnet9, large, pool=2),
    ]


def same_bytes(bench: Bench, sheet: Sheet) -> None:
    """Train everything twice here and once in a fresh process, and compare digests."""
    found: dict[str, list[str]] = {}
    all_cases = cases(bench)
    for case in all_cases:

        def twice(case: Case = case) -> None:
            found[case.name] = [case.digest(bench), case.digest(bench)]

        sheet.attempt(f"b {case.name}", twice)
    sheet.attempt("b fresh process", partial(_fresh, bench, found))
    for case in all_cases:
        digests = found.get(case.name, [])
        equal = len(set(digests)) == 1
        figure = f"{'equal' if equal else 'different'} in {len(digests)} runs"
        n = f"{len(case.data.train)} records"
        if case.pool:  # nobody promises these, but it is good to know
            sheet.add("b", f"{case.name} (no promise)", figure, n)
        elif digests:
            sheet.promise("b", case.name, figure, n, equal and len(digests) == 3)


def _fresh(bench: Bench, found: dict[str, list[str]]) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--digests", "--device", bench.device.type]
    command += ["--toy"] if bench.toy else []
    command += ["--cifar10", str(bench.folder.resolve())] if bench.folder else []
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    for name, digest in json.loads(done.stdout.splitlines()[-1]).items():
        found.setdefault(name, []).append(digest)


def all_digests(bench: Bench) -> dict[str, str]:
    """Return case -> digest; what cannot be trained is left out, with its traceback on stderr."""
    found = {}
    for case in cases(bench):
        try:
            found[case.name] = case.digest(bench)
        except Exception:  # noqa: BLE001  (the process that asked compares the others)
            traceback.print_exc()
    return found


# c: deletion ------------------------------------------------------------------------------


def exact_deletion(bench: Bench, sheet: Sheet) -> None:
    """Forget in two batches and compare with a build that never had the records."""
    digits = bench.digits.first(450).train
    images = bench.few.first(240).train
    few = bench.size(3, 2)
    sisa = {"method": "sisa", "shards": few, "slices": few}
    arcane = {"method": "arcane", "slices": few}
    for architecture, records, partition in (
        *((name, digits, sisa) for name in ("mlp", "logistic", "lenet", "allcnn", "wideresnet")),
        ("resnet9", images, sisa),
        ("resnet9", images, sisa | {"precision": "bfloat16"}),
        ("autoencoder", digits, arcane),
        ("gaussian", digits, arcane),
    ):
        own = dict(partition)
        precision = own.pop("precision", "float32")
        engines = ("sequential", "stacked") if architecture in STACKABLE else ("auto",)
        for engine in engines:
            train_as = {"engine": engine, "precision": precision}
            check = partial(_delete, bench, sheet, architecture, train_as, records, own)
            sheet.attempt(f"c {architecture}, {engine}, {precision}", check)


def _delete(
    bench: Bench,
    sheet: Sheet,
    architecture: str,
    train_as: Mapping[str, str],
    records: RecordSet,
    partition: Mapping[str, Any],
) -> None:
    blocks = {
        "partition": partition,
        "model": {"architecture": architecture},
        "train": {"epochs": bench.size(3, 1), "batch_size": 16, "learning_rate": 0.05} | train_as,
        "run": {"device": bench.device.type},
    }
    chosen = np.random.default_rng(0).choice(len(records), 6, replace=False)
    gone = [records.record_ids[where] for where in chosen]
    method = method_named("sisa")
    with tempfile.TemporaryDirectory(prefix="forgetflow-gpu-") as folder:
        project = _project(Path(folder) / "with", records, blocks)
        started = time.perf_counter()
        build_original(project)
        built = time.perf_counter() - started
        trained, states, spent = 0, 0, 0.0
        for part in (gone[:2], gone[2:]):
            batch = _sealed(project, part)
            started = time.perf_counter()
            deletion = Deletion.open(project, batch)
            jobs = jobs_of(method, deletion.view(method))
            unlearn(project, deletion, method)
            spent += time.perf_counter() - started
            trained += sum(len(job.fresh) for job in jobs)
            states += len(jobs) * partition["slices"]
        never = _project(Path(folder) / "without", records.without(gone), blocks)
        build_original(never)
        files, others = (_weights(project, batch), _weights(never, "original"))
    sheet.promise(
        "c",
        f"{partition['method']}, {architecture}, {', '.join(train_as.values())}: two deletions "
        "against a fresh build",
        f"{sum(others.get(name) == data for name, data in files.items())} of {len(others)} "
        f"constituents byte-equal; {trained} of {states} states trained again, "
        f"{spent:.1f} s (build {built:.1f} s)",
        f"6 of {len(records)} records",
        bool(files) and files == others,
    )


def _project(root: Path, records: RecordSet, blocks: Mapping[str, Any]) -> Project:
    """Return a project folder with settings, records and placement."""
    root.mkdir()
    (root / "params.yaml").write_text(yaml.safe_dump(dict(blocks)))
    project = Project(root)
    write_record_set(records, project.train, parts=4)
    placed = place(records, project.settings.partition, project.settings.run.seed)
    write_assignment(records, placed, project.partition / "assignment.parquet")
    return project


def _sealed(project: Project, record_ids: Sequence[str]) -> str:
    """Ask for the deletion of records, seal the requests and return the batch."""
    for record in record_ids:
        add_request(project, {"record": record}, NOW)
    batch = seal(project, NOW, method="sisa").batch
    if batch is None:
        raise RuntimeError("nothing was sealed")
    return batch


def _weights(project: Project, generation: str) -> dict[str, bytes]:
    """Return the weights files of a generation."""
    found = sorted(project.model(generation).glob("*.safetensors"))
    return {path.name: path.read_bytes() for path in found}


if __name__ == "__main__":
    main()
