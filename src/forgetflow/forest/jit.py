"""Compile a function to machine code, and never run code compiled from older source.

numba keeps compiled functions on disk and looks only at the file of the function itself: after
a change in a helper of another file it would go on running the old one. For a forest that
promises equal bytes that is the worst kind of error, so compiled code lives in a folder named
after the source of the whole package.
"""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

config: Any = numba.config  # its entries come from the environment, unseen by type checkers
OPTIONS: Any = {
    "nogil": True,  # trees grow on threads
    "forceinline": True,  # a call would copy every array's shape: a third of a deletion's time
    "error_model": "numpy",  # no check for division by zero
    "fastmath": False,  # IEEE 754, on which equal decisions rest
}
F = TypeVar("F", bound=Callable[..., Any])


def jit(function: F) -> F:
    """Return `function` compiled by numba on its first call."""
    if CACHE is None:
        return cast("F", numba.njit(**OPTIONS)(function))
    before = config.CACHE_DIR
    config.CACHE_DIR = str(CACHE)  # read while the function is decorated
    try:
        return cast("F", numba.njit(**OPTIONS, cache=True)(function))
    finally:
        config.CACHE_DIR = before


def _cache_folder() -> Path | None:
    here = Path(__file__).parent
    sources = hashlib.sha256()
    for source in sorted(here.glob("*.py")):
        text = source.read_bytes()
        sources.update(b"%d:" % len(text) + text)
    bases = [here / "__pycache__", Path.home() / ".cache" / "forgetflow"]
    if config.CACHE_DIR:
        bases = [Path(config.CACHE_DIR)]
    for base in bases:
        folder = base / f"compiled-{sources.hexdigest()[:16]}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:  # an installation that this user may not write to
            continue
    return None  # compile in every process


CACHE = _cache_folder()
