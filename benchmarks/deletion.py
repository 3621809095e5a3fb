"""What whole commands cost: building, doing nothing, forgetting one person, looking at models.

Runs them in a fresh temporary project on the embedded digits with the settings of `params.yaml`,
the Prefect server up, and prints the median of n runs: seconds a person waits, and processor
seconds of the command and all processes it starts (without the server), which other work on the
machine changes less. Beside a deletion stands what it costs when everything is retrained.

    python benchmarks/deletion.py [--runs 5]
"""

import argparse
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

REPOSITORY = Path(__file__).parents[1]
COPIED = ("src", "flows", "tools", "data/forget", "dvc.yaml", "params.yaml", ".dvc/config")
PYTHON = sys.executable


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="repetitions of each measurement")
    runs = parser.parse_args().runs
    print_environment(runs)
    with tempfile.TemporaryDirectory(prefix="forgetflow-bench-") as folder:
        root = Path(folder)
        make_project(root)
        try:
            measure(root, runs)
        finally:
            run(root, PYTHON, "-m", "tools.stop")


def print_environment(runs: int) -> None:
    """Print hardware, versions and n."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":")[1] for line in info.read_text().splitlines() if "model name" in line
        ]
        cpu = names[0].strip() if names else cpu
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "prefect", "dvc", "mlflow")
    )
    print(
        f"{cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, {versions}; n={runs}"
    )


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock, and of the processor in user and system mode."""

    wall: float
    processor: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.wall + other.wall, self.processor + other.processor)


def measure(root: Path, runs: int) -> None:
    """Time every command; the first build and the server start happen once."""
    cli, dvc = (PYTHON, "-m", "forgetflow"), (PYTHON, "-m", "dvc")
    print(f"{'':44} {'seconds':>8} {'processor':>10}")
    show("start the Prefect server (once)", [run(root, PYTHON, "-c", START)])
    show("first dvc repro", [run(root, *dvc, "repro", "--quiet")])
    show("dvc repro, nothing to do", [run(root, *dvc, "repro", "--quiet") for _ in range(runs)])
    show("forgetflow --help", [run(root, *cli, "--help") for _ in range(runs)])
    people = iter(subjects(root))
    np.save(root / "digits.npy", np.zeros((3, 64), np.float32))
    verbs: dict[str, list[Cost]] = {}
    for _ in range(runs):
        for method in ("sisa", "retrain"):
            verbs.setdefault("request add", []).append(
                run(root, *cli, "request", "add", "--subject", next(people))
            )
            sealing = run(root, *cli, "seal")
            forgetting = run(root, *cli, "forget", "--method", method)
            verbs.setdefault(f"seal, {method}", []).append(sealing)
            verbs.setdefault(f"forget, {method}", []).append(forgetting)
            verbs.setdefault(f"seal + forget, {method}", []).append(sealing + forgetting)
        verbs.setdefault("lineage show", []).append(run(root, *cli, "lineage", "show"))
        verbs.setdefault("predict", []).append(run(root, *cli, "predict", "digits.npy"))
    for what, costs in verbs.items():
        show(what, costs)


def subjects(root: Path) -> list[str]:
    """Return the people in the training set: whoever was held out has nothing to be forgotten."""
    parts = sorted((root / "data/train").glob("*.parquet"))
    return sorted({one for p in parts for one in pq.read_table(p)["subject_id"].to_pylist()})


def make_project(root: Path) -> None:
    """Copy what a project needs and put it under git."""
    for name in COPIED:
        source, target = REPOSITORY / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(
                source, target, ignore=shutil.ignore_patterns("__pycache__", "*.parquet*")
            )
        else:
            shutil.copy(source, target)
    (root / "data/forget/batches.yaml").write_text("batches: {}\n")
    (root / "data/forget/ledger.jsonl").unlink(missing_ok=True)
    run(root, "git", "init", "--quiet")


def run(root: Path, *command: str) -> Cost:
    """Run a command that must succeed, and return what it cost."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    # DVC stages start `python`: it must be this one.
    environment["PATH"] = os.pathsep.join([str(Path(PYTHON).parent), environment["PATH"]])
    before, started = processor_seconds(), time.perf_counter()
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return Cost(time.perf_counter() - started, processor_seconds() - before)


def processor_seconds() -> float:
    """Return the processor time of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def show(what: str, costs: list[Cost]) -> None:
    """Print medians, and the ranges where there are some."""
    columns = []
    for values in ([c.wall for c in costs], [c.processor for c in costs]):
        spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
        columns.append(f"{statistics.median(values):8.2f} s{spread:18}")
    print(f"{what:44} {' '.join(columns)}")


START = (
    "from flows.runtime import ensure_server; from forgetflow.config.project import Project; "
    "ensure_server(Project.find())"
)

if __name__ == "__main__":
    main()
