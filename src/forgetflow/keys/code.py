"""The digest of what code does: a module and every project module that it imports.

    code_digest("forgetflow.training.trainer")
        trainer ──► lockstep ──► schedule ──► keys.digests
                └─► models.build ──► models.registry  (stops here)

The graph is read from the syntax trees, also of imports inside functions, so no list of files is
kept by hand and none can be forgotten. Two kinds of modules are not followed:

- a `registry` lists siblings, of which one task uses one: whoever looks something up by name
  gives the module of what was found as a root of its own (`module_of`);
- `forgetflow.config` declares settings, and settings reach a key by their values.

Comments, docstrings, annotations for type checkers and layout do not count, so that rewording a
comment does not make every stored model unreachable; any change of behaviour does.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from forgetflow.keys.digests import digest_of

PACKAGE = "forgetflow"
FOLDER = Path(__file__).parents[1]


def code_digest(*roots: str) -> str:
    """Return the digest of the modules `roots` and of all that they import, transitively.

    Args:
        roots: dotted names, e.g. `"forgetflow.training.trainer"`, or `module_of(something)`. One
            that is not of this project, such as a method in a file of your own, must be imported;
            of its imports those of this project are followed.

    Raises:
        ValueError: there is no such module, or it has no source file.
    """
    return digest_of({name: _read(name, FOLDER).meaning for name in sorted(reached(roots))})


def module_of(thing: object) -> str:
    """Return the module that a function, a class or an instance comes from, as a root."""
    own = getattr(thing, "__module__", None)
    return own if isinstance(own, str) else type(thing).__module__


def reached(roots: Iterable[str]) -> set[str]:
    """Return the names of all project modules that `roots` reach, themselves included."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += (one for one in _read(name, FOLDER).imports if not _stops(one))
    return found


def _stops(name: str) -> bool:
    return name.endswith(".registry") or name.startswith(f"{PACKAGE}.config.")


@dataclass(frozen=True)
class _Source:
    """What a module does, and the project modules that it names in imports."""

    meaning: str
    imports: frozenset[str]


@cache
def _read(name: str, folder: Path) -> _Source:
    path = _path(name, folder) or _elsewhere(name)
    if path is None:
        raise ValueError(f"there is no module {name} with a source file")
    tree = ast.parse(path.read_bytes())
    imports = frozenset(one for one in _imported(tree) if _path(one, folder))
    return _Source(digest_of(ast.dump(_Bare().visit(tree))), imports)


def _path(name: str, folder: Path) -> Path | None:
    """Return the file of a module; None where the name is a package without code, or no module."""
    first, *rest = name.split(".")
    if first != PACKAGE or not rest:
        return None
    place = folder.joinpath(*rest)
    found = (place.with_suffix(".py"), place / "__init__.py")
    return next((path for path in found if path.is_file()), None)


def _elsewhere(name: str) -> Path | None:
    """Return the file of an imported module that is not of this project."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return Path(file) if file and not name.startswith(f"{PACKAGE}.") else None


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield every dotted name that imports could mean as a module."""
    for node in _with_effect(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _with_effect(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree, leaving out what only type checkers read."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not _for_checkers(child):
            yield from _with_effect(child)


def _for_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and (
        (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING")
        or (isinstance(node.test, ast.Attribute) and node.test.attr == "TYPE_CHECKING")
    )


class _Bare(ast.NodeTransformer):
    """Takes out docstrings and what only type checkers read."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [n for n in node.body if not _is_string(n) and not _for_checkers(n)]
            node.body = node.body or [ast.Pass()]
        return node


def _is_string(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
