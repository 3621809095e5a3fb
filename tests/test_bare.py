"""The rooms from `store` to `audit` run on a box with their own requirements alone."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOMS = [
    "api",
    "attribution",
    "audit",
    "config",
    "evaluation",
    "files",
    "keys",
    "models",
    "partition",
    "pools",
    "records",
    "requests",
    "store",
    "training",
    "unlearning",
]

SOURCE = Path(__file__).parents[1] / "src"

IMPORT_ALL = """
import importlib, importlib.abc, json, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Missing())
for missing, modules in json.loads(sys.argv[1]):
    for module in modules:
        importlib.import_module(module)
"""


def required(name: str, extra: str = "") -> set[str]:
    """Return the distributions that this one needs, itself included, as they are installed."""
    found: set[str] = set()
    waiting = [(name, extra)]
    while waiting:
        name, extra = waiting.pop()
        name = canonical(name)
        if name in found:
            continue
        found.add(name)
        for text in metadata.requires(name) or []:
            one = Requirement(text)
            if one.marker is None or one.marker.evaluate({"extra": extra}):
                waiting.append((one.name, ""))
    return found


def canonical(name: str) -> str:
    return name.lower().replace("_", "-")


def all_but(needed: set[str]) -> list[str]:
    """Return the top-level modules of all other distributions that are installed."""
    return [
        module
        for module, owners in metadata.packages_distributions().items()
        if not {canonical(owner) for owner in owners} & needed
    ]


def modules(room: str) -> list[str]:
    files = sorted((SOURCE / "forgetflow" / room).rglob("*.py"))
    names = [".".join(file.relative_to(SOURCE).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in names]


def test_rooms_need_only_what_pyproject_says() -> None:
    """One process imports every module while all else that is installed is hidden from it."""
    bare = all_but(required("forgetflow"))
    assert {"prefect", "dvc", "mlflow", "sklearn", "matplotlib", "pandas", "numba"} < set(bare)
    assert not {"torch", "numpy", "pyarrow", "pydantic", "safetensors", "yaml"} & set(bare)
    steps = [
        (bare, [name for room in ROOMS for name in modules(room)]),
        (all_but(required("forgetflow", "forest")), modules("forest")),
    ]
    assert all(len(names) > 10 for _, names in steps)
    command = [sys.executable, "-c", IMPORT_ALL, json.dumps(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
