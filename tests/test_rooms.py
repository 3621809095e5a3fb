"""The house: nothing imports in a circle, neither modules nor rooms."""

import ast
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOOSE = {"__init__", "__main__", "errors"}


def modules(root: Path) -> dict[str, Path]:
    """Return module -> its file, of the package and the flows."""
    found = {}
    for base in (root / "src", root):
        for path in sorted(
            (base / ("forgetflow" if base.name == "src" else "flows")).rglob("*.py")
        ):
            parts = path.relative_to(base).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(found: dict[str, Path]) -> dict[str, set[str]]:
    """Return module -> modules that it imports, also those inside functions."""
    graph: dict[str, set[str]] = {}
    for module, path in found.items():
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                names |= {str(node.module), *(f"{node.module}.{a.name}" for a in node.names)}
        graph[module] = {name for name in names if name in found and name != module}
    return graph


def room(module: str) -> str:
    """Return the folder below `forgetflow`, or the module itself where it lies in none."""
    first, *others = module.split(".")
    return others[0] if first == "forgetflow" and others else first


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return one circle of a graph, or nothing."""
    sorter = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except ValueError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_by_way_of_others():
    assert circle(imports(modules(ROOT))) == []


@pytest.mark.parametrize("lines", ["import b", "def f():\n    from b import c"])
def test_a_circle_is_seen(tmp_path, lines):
    files = {"a": tmp_path / "a.py", "b": tmp_path / "b.py"}
    files["a"].write_text(lines)
    files["b"].write_text("from a import d")
    assert set(circle(imports(files))) == {"a", "b"}


def test_no_room_needs_itself_by_way_of_others():
    rooms: dict[str, set[str]] = defaultdict(set)
    for module, names in imports(modules(ROOT)).items():
        rooms[room(module)] |= {room(name) for name in names} - {room(module)}
    assert circle(rooms) == []


def test_only_the_package_itself_its_command_and_its_errors_lie_in_no_room():
    assert {path.stem for path in (ROOT / "src" / "forgetflow").glob("*.py")} == LOOSE
