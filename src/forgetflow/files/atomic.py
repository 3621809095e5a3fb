"""Writing a file, or a folder of files, completely or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader, or a crash, sees all of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
        _sync_folder(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_folder(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Make `folder` hold exactly these files; a reader, or a crash, never sees half of them.

    Args:
        folder: replaced as a whole.
        files: names and contents; a generator keeps one content in memory at a time.
    """
    staging = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(staging, ignore_errors=True)
    for name, data in files:
        write_atomically(staging / name, data)
    shutil.rmtree(folder, ignore_errors=True)
    staging.rename(folder)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut; some file systems need the folder flushed for that."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
