"""Seconds a person waits: building, doing nothing, forgetting one person, asking for help.

Runs whole commands in a fresh temporary project on the embedded digits with the settings of
`params.yaml`, the Prefect server up, and prints the median of n runs beside what the same
deletion costs when everything is retrained.

    python benchmarks/deletion.py [--runs 3]
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
COPIED = ("src", "flows", "tools", "data/forget", "dvc.yaml", "params.yaml", ".dvc/config")
PYTHON = sys.executable


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="repetitions of each measurement")
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
        f"{cpu}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}; n={runs}"
    )


def measure(root: Path, runs: int) -> None:
    """Time every command; the first build and the server start happen once."""
    cli, dvc = (PYTHON, "-m", "forgetflow"), (PYTHON, "-m", "dvc")
    show("start the Prefect server (once)", [timed(root, PYTHON, "-c", START)])
    show("first dvc repro", [timed(root, *dvc, "repro", "--quiet")])
    show("dvc repro, nothing to do", [timed(root, *dvc, "repro", "--quiet") for _ in range(runs)])
    show("forgetflow --help", [timed(root, *cli, "--help") for _ in range(runs)])
    sisa, full = [], []
    for number in range(runs):
        for method, seconds in (("sisa", sisa), ("retrain", full)):
            person = f"writer-{100 + 2 * number + (method == 'retrain'):03d}"
            run(root, *cli, "request", "add", "--subject", person)
            started = time.perf_counter()
            run(root, *cli, "seal")
            run(root, *cli, "forget", "--method", method)
            seconds.append(time.perf_counter() - started)
    show("seal to registered version, sisa, one person", sisa)
    show("seal to registered version, full retraining", full)
    ratio = statistics.median(full) / statistics.median(sisa)
    print(f"{'ratio full retraining / sisa, whole command':48} {ratio:8.2f} x")


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


def timed(root: Path, *command: str) -> float:
    """Return the wall seconds of a command."""
    started = time.perf_counter()
    run(root, *command)
    return time.perf_counter() - started


def run(root: Path, *command: str) -> None:
    """Run a command that must succeed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    # DVC stages start `python`: it must be this one.
    environment["PATH"] = os.pathsep.join([str(Path(PYTHON).parent), environment["PATH"]])
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def show(what: str, seconds: list[float]) -> None:
    """Print the median, and the range where there is one."""
    spread = f"   ({min(seconds):.2f} to {max(seconds):.2f})" if len(seconds) > 1 else ""
    print(f"{what:48} {statistics.median(seconds):8.2f} s{spread}")


START = (
    "from flows.runtime import ensure_server; from forgetflow.config.project import Project; "
    "ensure_server(Project.find())"
)

if __name__ == "__main__":
    main()
