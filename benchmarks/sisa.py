"""What sharding gains, timed: deletions, builds of many shards, and the study on real data.

    python benchmarks/sisa.py deletion    gain in seconds of a deletion beside its gain in points
    python benchmarks/sisa.py reference   20 shards, beside a process per shard, epoch by epoch
    python benchmarks/sisa.py study       `forgetflow study sharding` on MNIST and its relatives

`deletion` and `study` read the folder that FORGETFLOW_DATA names (mnist, fashion_mnist, uci_har).
Everything runs on one thread and one computing slot: sharding's gain from many machines is left
out, as in the paper. Ways take turns and the best of n rounds counts, because other load only
ever slows them down.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from deletion import PYTHON, START, make_project, print_environment, run

HERE = Path(__file__)
CLI = (PYTHON, "-m", "forgetflow")
BAR_GAIN, BAR_REFERENCE = 0.9, 10.0
FEATURES, SHARDS, BATCH, RATE, EPOCHS = 600, 20, 16, 0.001, 20


def main() -> None:
    """Measure and print."""
    # Called by the measurements below, inside a project, in a process of its own.
    inside = {"--unlearn": unlearn_here, "--chains": chains_here, "--tasks": tasks_here}
    if sys.argv[1:2] and sys.argv[1] in inside:
        print(json.dumps(inside[sys.argv[1]](*sys.argv[2:])))
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("deletion", "reference", "study"))
    parser.add_argument("--runs", type=int, default=3, help="rounds of each measurement")
    parser.add_argument("--slices", type=int, default=1, help="deletion: R")
    parser.add_argument("--epochs", type=int, default=240, help="deletion: epochs of a shard")
    parser.add_argument("--rows", type=int, default=2500, help="reference: records of a shard")
    parser.add_argument("--data", default="mnist", help="study: mnist, fashion_mnist or uci_har")
    given = parser.parse_args()
    print_environment(1 if given.what == "study" else given.runs)
    if given.what == "deletion":
        measure_deletions(given.runs, given.slices, given.epochs)
    elif given.what == "reference":
        compare_with_reference(given.runs, given.rows)
    else:
        run_study(given.data)


# A deletion beside full retraining, through the flows -----------------------------------


def measure_deletions(runs: int, slices: int, epochs: int) -> None:
    """Time deletions of one record of MNIST, 784-128-10, ten shards."""
    settings = {
        "data": {"source": "idx", "path": str(data_folder("mnist"))},
        "partition": {"method": "sisa", "shards": 10, "slices": slices},
        "model": {"architecture": "mlp", "hidden": [128]},
        "train": {"epochs": epochs, "batch_size": 16, "learning_rate": 0.01},
        "attribution": {"queries": 10},
        "evaluate": {"oracle": False, "audit": {"members": 0}},
        "run": {"device": "cpu", "workers": 1},
    }
    flows: dict[str, list[dict[str, float]]] = {"retrain": [], "sisa": []}
    whole: dict[str, list[float]] = {"retrain": [], "sisa": []}
    with project_with(settings) as root:
        run(root, PYTHON, "-c", START)
        seconds = run(root, PYTHON, "-m", "dvc", "repro", "--quiet").wall
        print(f"MNIST, 784-128-10, 10 x {slices}, {epochs} epochs; first dvc repro {seconds:.1f} s")
        for number in range(runs):
            batch = ask(root, 2 * number)
            # The bytes of both ways must be the same; the faster way has to be an exact one.
            both = {m: inside(root, "--unlearn", batch, m) for m in ("retrain", "sisa")}
            if both["retrain"]["weights"] != both["sisa"]["weights"]:
                sys.exit("a deletion left other weights than full retraining")
            for method, found in both.items():
                flows[method].append(found)
            whole["sisa"].append(run(root, *CLI, "forget", batch, "--method", "sisa").wall)
            batch = ask(root, 2 * number + 1)
            whole["retrain"].append(run(root, *CLI, "forget", batch, "--method", "retrain").wall)
            # As if that batch had been sisa's: the next one starts from its states.
            inside(root, "--unlearn", batch, "retrain")
            run(root, *CLI, "forget", batch, "--method", "sisa")
            show_round(flows, whole)
    ratio = statistics.median(
        full["samples"] / part["samples"]
        for full, part in zip(flows["retrain"], flows["sisa"], strict=True)
    )
    for what, full, part in (
        ("the flow", *(min(f["wall"] for f in flows[m]) for m in ("retrain", "sisa"))),
        ("the flow, CPU", *(min(f["cpu"] for f in flows[m]) for m in ("retrain", "sisa"))),
        ("whole command", *(min(whole[m]) for m in ("retrain", "sisa"))),
    ):
        gain = full / part
        print(
            f"{what:16} {full:8.2f} s against {part:6.2f} s: gain {gain:.2f} of {ratio:.2f} in "
            f"points, {gain / ratio:.0%}; bar {BAR_GAIN:.0%}, "
            f"{'met' if gain / ratio >= BAR_GAIN else 'not met'}"
        )


def show_round(
    flows: Mapping[str, Sequence[Mapping[str, float]]], whole: Mapping[str, Sequence[float]]
) -> None:
    """Print the latest round."""
    full, part = flows["retrain"][-1], flows["sisa"][-1]
    shown = [
        f"{name} {full[key]:.2f} / {part[key]:.2f}"
        for name, key in (("flow", "wall"), ("CPU", "cpu"), ("training", "seconds"))
    ]
    shown.append(f"samples {full['samples']:.0f} / {part['samples']:.0f}")
    shown.append(f"whole command {whole['retrain'][-1]:.2f} / {whole['sisa'][-1]:.2f}")
    print(f"  {'; '.join(shown)}; load {os.getloadavg()[0]:.1f}", flush=True)


def ask(root: Path, number: int) -> str:
    """Ask for the deletion of one record and seal it; returns the batch."""
    run(root, *CLI, "request", "add", "--record", f"idx-train-{number:05d}")
    run(root, *CLI, "seal")
    return f"b{number + 1}"


def unlearn_here(batch: str, method: str) -> dict[str, Any]:
    """Run the flow `unlearn` in a fresh process, with a cold project and a warm server.

    The states it made are dropped, so that another run has to make them again.

    Returns:
        Wall seconds, CPU seconds, seconds of training, samples, weights digest.
    """
    from forgetflow.config.project import Project

    project = start_here()
    from flows import inputs
    from flows.forget import unlearn
    from forgetflow.unlearning.protocol import jobs_of
    from forgetflow.unlearning.registry import method_named
    from forgetflow.unlearning.runner import deletion_cost

    started, used = time.perf_counter(), time.process_time()
    weights = unlearn(batch, method)
    wall, cpu = time.perf_counter() - started, time.process_time() - used
    chosen = method_named(method)
    view = inputs.deletion(Project(project), batch).view(chosen)
    jobs = jobs_of(chosen, view)
    cost = deletion_cost(view, jobs)
    for key in [key for job in jobs for key in job.fresh]:
        view.store.remove(key)
    return {
        "wall": wall,
        "cpu": cpu,
        "seconds": cost.seconds,
        "samples": cost.backward_samples,
        "weights": weights,
    }


# Many shards beside a process per shard ---------------------------------------------------


def compare_with_reference(runs: int, rows: int) -> None:
    """Train 20 shards of Purchase-like records: ours and, in the same run, the reference's way."""
    x, y = purchase_like(SHARDS * rows)
    settings = {
        "data": {"source": "npz"},
        "partition": {"method": "sisa", "shards": SHARDS, "slices": 1},
        "model": {"architecture": "mlp", "hidden": [128]},
        "train": {"epochs": EPOCHS, "batch_size": BATCH, "learning_rate": RATE, "momentum": 0.0},
        "evaluate": {"oracle": False, "audit": {"members": 0}},
        "run": {"device": "cpu", "workers": 1},
    }
    with project_with(settings) as root:
        np.savez(root / "records.npz", x=x, y=y)
        settings["data"]["path"] = "records.npz"
        change(root, settings)
        run(root, PYTHON, "-m", "dvc", "repro", "--quiet", "partition")
        run(root, PYTHON, "-c", START)
        reference = root / "reference"
        reference.mkdir()
        held = len(x)
        np.save(reference / "x.npy", x)
        np.save(reference / "x_whole.npy", x.astype(np.int64))
        np.save(reference / "y.npy", y)
        order = np.random.default_rng(0).permutation(held)
        np.save(reference / "shards.npy", order.reshape(SHARDS, rows))
        np.save(reference / "requests.npy", np.empty(0, np.int64))
        print(
            f"{SHARDS} shards of {rows} records, {FEATURES}-128-2, batch {BATCH}, {EPOCHS} epochs,"
            f" SGD {RATE}; load {os.getloadavg()[0]:.1f}"
        )
        ways = {
            "ours, one process": lambda: whole_process(root, "--chains"),
            "ours, tasks of the pipeline": lambda: whole_process(root, "--tasks"),
            "reference, one after another": lambda: process_per_shard(reference, 1, "mapped"),
            "reference, two at once": lambda: process_per_shard(reference, 2, "mapped"),
            "reference, whole file": lambda: process_per_shard(reference, 1, "whole"),
        }
        found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
        for _ in range(runs):
            for name, way in ways.items():
                found[name].append(way())
                last = found[name][-1]
                print(
                    f"  {name:30} {last['wall']:7.2f} s, of which training {last['seconds']:.2f}; "
                    f"CPU {last['cpu']:.2f} s; load {os.getloadavg()[0]:.1f}",
                    flush=True,
                )
    best = {
        name: {kind: min(one[kind] for one in rounds) for kind in ("wall", "cpu")}
        for name, rounds in found.items()
    }
    ours = best["ours, one process"]
    print(f"{'way':30}{'seconds':>10}{'x ours':>8}{'CPU s':>10}{'x ours':>8}")
    for name, one in best.items():
        print(
            f"{name:30}{one['wall']:10.2f}{one['wall'] / ours['wall']:8.2f}"
            f"{one['cpu']:10.2f}{one['cpu'] / ours['cpu']:8.2f}"
        )
    ratio = best["reference, one after another"]["wall"] / ours["wall"]
    met = "met" if ratio >= BAR_REFERENCE else "not met"
    print(f"bar, {BAR_REFERENCE:g} x one process after another: {ratio:.1f} x, {met}")


def purchase_like(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return binary records of two kinds of shoppers, float32 (N, 600), and their kind, (N,)."""
    rng = np.random.default_rng(0)
    chances = rng.beta(0.5, 2.0, size=(2, FEATURES))
    y = rng.integers(2, size=count)
    return (rng.random((count, FEATURES)) < chances[y]).astype(np.float32), y


def process_per_shard(folder: Path, at_once: int, reading: str) -> dict[str, float]:
    """Train every shard in a process of its own; returns wall seconds and those of training."""
    script = str(HERE.with_name("process_per_shard.py"))
    tail = [str(EPOCHS), str(BATCH), str(RATE), reading]
    started, used, trained = time.perf_counter(), cpu_of_children(), 0.0
    for first in range(0, SHARDS, at_once):
        running = [
            subprocess.Popen(
                [PYTHON, script, str(folder), str(shard), *tail],
                stdout=subprocess.PIPE,
                text=True,
            )
            for shard in range(first, min(first + at_once, SHARDS))
        ]
        for process in running:
            text, _ = process.communicate()
            if process.returncode:
                sys.exit("the reference's stand-in failed")
            trained += float(text)
    wall = time.perf_counter() - started
    return {"wall": wall, "cpu": cpu_of_children() - used, "seconds": trained}


def whole_process(root: Path, what: str) -> dict[str, float]:
    """Train all shards of the project from nothing; wall seconds from start to end of process."""
    started, used = time.perf_counter(), cpu_of_children()
    found = inside(root, what)
    wall = time.perf_counter() - started
    return {"wall": wall, "cpu": cpu_of_children() - used, "seconds": found["seconds"]}


def cpu_of_children() -> float:
    """Return the CPU seconds of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def chains_here() -> dict[str, float]:
    """Train all constituents with `train_chains` into an empty store on disk."""
    from forgetflow.config.project import Project
    from forgetflow.store.store import Store
    from forgetflow.training.trainer import train_chains
    from forgetflow.training.workspace import Workspace

    project = Project.find()
    with tempfile.TemporaryDirectory(dir=project.root) as folder:
        space = Workspace.open(project)
        chains = [space.chain(n, space.everything) for n in space.occupied(space.everything)]
        done = train_chains(Store(Path(folder)), [(chain, space.recipe) for chain in chains])
    return {"seconds": sum(work.seconds for _, work in done)}


def tasks_here() -> dict[str, float]:
    """Train all constituents as the pipeline does: a Prefect task for each."""
    from forgetflow.config.project import Project

    project = Project(start_here())  # Prefect reads its settings when it is imported
    from prefect import flow

    from flows.devices import open_slots
    from flows.runner import task_runner
    from flows.tasks import train_all
    from forgetflow.store.store import Store

    @flow(name="train all", task_runner=task_runner())
    def train_everything() -> float:
        open_slots(project)
        receipts = train_all(project)
        for receipt in receipts.values():  # for the next round
            Store(project.store).remove(receipt.key)
        return sum(receipt.facts["seconds"] for receipt in receipts.values())

    return {"seconds": train_everything()}


# The study of sharding on real data ----------------------------------------------------------

STUDIES: dict[str, dict[str, Any]] = {
    "mnist": {"grid": ("1,5,10,20", "1,4", "1,10,50"), "rate": 0.02, "normalize": "none"},
    "fashion_mnist": {"grid": ("1,5,10,20", "1,4", "1,10,50"), "rate": 0.02, "normalize": "none"},
    "uci_har": {"grid": ("1,2,5,10", "1,4", "1,3,10"), "rate": 0.002, "normalize": "standard"},
}


def run_study(name: str) -> None:
    """Run `forgetflow study sharding` in a fresh project and print compact tables."""
    chosen = STUDIES[name]
    shards, slices, requests = chosen["grid"]
    settings: dict[str, Any] = {
        "data": {"source": "idx", "path": None},
        "model": {"architecture": "mlp", "hidden": [128], "normalize": chosen["normalize"]},
        "train": {"epochs": 10, "batch_size": 16, "learning_rate": chosen["rate"]},
        "run": {"device": "cpu", "workers": 1},
    }
    with project_with(settings) as root:
        if name == "uci_har":
            write_har(data_folder(name) / "uci_har_inertial.npz", root / "har.npz")
            settings["data"] = {"source": "npz", "path": "har.npz"}
        else:
            settings["data"]["path"] = str(data_folder(name))
        change(root, settings)
        run(root, PYTHON, "-m", "dvc", "repro", "--quiet", "partition")
        grid = ["--shards", shards, "--slices", slices, "--requests", requests, "--seeds", "3"]
        seconds = run(root, *CLI, "study", "sharding", *grid).wall
        study = json.loads((root / "studies/sharding/sharding.json").read_text())
    print(f"\n{name}: {seconds:.0f} s; load {os.getloadavg()[0]:.1f}; {study['check']}")
    facts = study["facts"]
    print({key: facts[key] for key in ("records", "subjects", "test_records", "skewed_by")})
    for line in study_tables(study):
        print(line)


def write_har(source: Path, target: Path) -> None:
    """Write windows of UCI HAR as an npz of flat inputs; a record's subject is its person.

    Everybody is as likely to leave: the official test people are the test set.
    """
    raw = np.load(source)
    windows = raw["signal"][raw["window_start"][:, None] + np.arange(128)]  # (N, 128, 9)
    flat, test = windows.reshape(len(windows), -1), raw["official_test"]
    arrays = {}
    for suffix, where in (("_train", ~test), ("_test", test)):
        arrays |= {
            f"x{suffix}": flat[where],
            f"y{suffix}": raw["activity"][where],
            f"subject{suffix}": np.char.add("person-", raw["subject"][where].astype(str)),
            f"deletion_prior{suffix}": np.full(where.sum(), 0.1),
        }
    np.savez(target, **arrays)


def study_tables(study: Mapping[str, Any]) -> Iterator[str]:
    """Yield Markdown tables: accuracies of cells, and gains in samples of batches."""
    yield "| S | R | mean prediction | label majority | lone shard | smallest to largest shard |"
    yield "|---|---|---|---|---|---|"
    for row in study["cells"]:
        shown = [
            f"{100 * row[f'accuracy_{kind}']:.2f} ± {100 * (row[f'accuracy_{kind}_sd'] or 0):.2f}"
            for kind in ("mean", "vote", "lone")
        ]
        sizes = f"{row['smallest_shard']} to {row['largest_shard']}"
        yield f"| {row['shards']} | {row['slices']} | {' | '.join(shown)} | {sizes} |"
    kinds = [(kind, mode) for kind in ("uniform", "class", "skewed") for mode in ("batch",)]
    kinds.append(("uniform", "sequential"))
    asked = " / ".join(map(str, study["grid"]["requests"]))
    yield f"\n| S | R | {' | '.join(f'{k}, {m}' for k, m in kinds)} |   (K = {asked})"
    yield "|---|---|---|---|---|---|"
    for row in study["cells"]:
        cell = row["shards"], row["slices"]
        shown = []
        for kind in kinds:
            gains = [
                point["speedup"]
                for point in study["points"]
                if (point["shards"], point["slices"]) == cell
                and (point["kind"], point["mode"]) == kind
            ]
            shown.append(" / ".join(f"{gain:.3g}" if gain else "-" for gain in gains))
        yield f"| {cell[0]} | {cell[1]} | {' | '.join(shown)} |"


# Projects ------------------------------------------------------------------------------------


@contextmanager
def project_with(settings: Mapping[str, Any]) -> Iterator[Path]:
    """Yield a fresh project with some settings, and stop its server afterwards."""
    with tempfile.TemporaryDirectory(prefix="forgetflow-bench-") as folder:
        root = Path(folder)
        make_project(root)
        change(root, settings)
        try:
            yield root
        finally:
            run(root, PYTHON, "-m", "tools.stop")


def change(root: Path, settings: Mapping[str, Any]) -> None:
    """Change values in the project's `params.yaml`."""
    path = root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for block, values in settings.items():
        for name, value in values.items():
            if isinstance(value, dict):
                params[block][name] |= value
            else:
                params[block][name] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def inside(root: Path, *arguments: str) -> dict[str, Any]:
    """Run a part of this script in a process of its own, inside a project."""
    done = subprocess.run(
        [PYTHON, str(HERE.resolve()), *arguments],
        cwd=root,
        env={k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stdout}{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def start_here() -> Path:
    """Find the project's server before Prefect is imported; returns the project's folder."""
    from flows.runtime import configure, ensure_server
    from forgetflow.config.project import Project

    configure()
    project = Project.find()
    ensure_server(project)
    return project.root


def data_folder(name: str) -> Path:
    """Return the folder of a real data set."""
    folder = os.environ.get("FORGETFLOW_DATA")
    if not folder or not (Path(folder) / name).is_dir():
        sys.exit(f"set FORGETFLOW_DATA to the folder that holds {name}")
    return Path(folder) / name


if __name__ == "__main__":
    main()
