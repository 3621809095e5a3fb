"""The sheet that `gpu.py` fills: rows printed as they come, and kept as JSON and Markdown.

A check that fails or finds no time left is named at the end and makes the exit code 1; the checks
after it still run. So does a row about bytes or accuracy that does not hold. A speed that misses
its goal is only a number.
"""

import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

Outcome = Literal["holds", "does not hold", "met", "not met", ""]


@dataclass(frozen=True)
class Row:
    """One measured line.

    Attributes:
        part: letter of the part.
        what: what was measured.
        figure: the result, with its unit.
        n: what it rests on: runs, members, records, in words.
        outcome: of a promise (holds or not), of a goal of speed (met or not), or nothing.
    """

    part: str
    what: str
    figure: str
    n: str
    outcome: Outcome = ""


@dataclass
class Sheet:
    """Rows and failures of a run.

    Attributes:
        machine: hardware, versions and date.
        folder: where `gpu.json` and `gpu.md` go; None: nowhere.
        seconds: time that checks may start in.
    """

    machine: dict[str, Any]
    folder: Path | None
    seconds: float
    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.started

    def attempt(self, name: str, check: Callable[[], None]) -> None:
        """Run a check; print and note its failure, or that there was no time for it."""
        if self.spent > self.seconds:
            print(f"[{self.spent:5.0f} s] {name}: skipped, no time left", flush=True)
            self.failures.append(f"{name} (no time left)")
            return
        print(f"[{self.spent:5.0f} s] {name}", flush=True)
        try:
            check()
        except Exception as error:  # noqa: BLE001  (whatever fails, the other checks still run)
            traceback.print_exc(file=sys.stdout)
            self.failures.append(f"{name} ({type(error).__name__})")
        self.write()

    def add(self, part: str, what: str, figure: str, n: str, outcome: Outcome = "") -> None:
        """Print and keep a row."""
        row = Row(part, what, figure, n, outcome)
        self.rows.append(row)
        print(f"    {row.part}  {row.what}: {row.figure} (n: {row.n}) {row.outcome}", flush=True)

    def promise(self, part: str, what: str, figure: str, n: str, holds: bool) -> None:
        """Add a row about what is promised."""
        self.add(part, what, figure, n, "holds" if holds else "does not hold")

    def goal(self, part: str, what: str, figure: str, n: str, met: bool) -> None:
        """Add a row about a goal of speed."""
        self.add(part, what, figure, n, "met" if met else "not met")

    @property
    def failed(self) -> list[str]:
        """Checks that failed or were skipped, and promises that do not hold."""
        broken = [f"{r.part} {r.what}" for r in self.rows if r.outcome == "does not hold"]
        return [*self.failures, *broken]

    def markdown(self) -> str:
        """Return the machine and the table."""
        facts = "; ".join(f"{name} {value}" for name, value in self.machine.items())
        lines = ["| part | what | figure | n | |", "|---|---|---|---|---|"]
        for row in self.rows:
            cells = (row.part, row.what, row.figure, row.n, row.outcome)
            lines.append(f"| {' | '.join(cells)} |")
        ending = [f"failed: {name}" for name in self.failed]
        return "\n".join([facts, "", *lines, "", *ending, f"{self.spent:.0f} s in all", ""])

    def write(self) -> None:
        """Write both files, so that a run that is cut off leaves what it had."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {
            "machine": self.machine,
            "rows": [asdict(row) for row in self.rows],
            "failed": self.failed,
            "seconds": round(self.spent),
        }
        (self.folder / "gpu.json").write_text(json.dumps(content, indent=1))
        (self.folder / "gpu.md").write_text(self.markdown())


def machine_facts(device: torch.device) -> dict[str, Any]:
    """Return hardware, versions and date."""
    facts: dict[str, Any] = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "device": device.type}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "gpu": torch.cuda.get_device_name(device),
            "gpu memory": f"{properties.total_memory / 2**30:.0f} GiB",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "cublas workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        }
    packages = {name: version(name) for name in ("torch", "numpy", "pyarrow", "safetensors")}
    return facts | {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **packages,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.machine()
