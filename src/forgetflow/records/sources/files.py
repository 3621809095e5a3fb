"""Finding and reading the files of a source; every failure names the file and what to do."""

import gzip
import lzma
import zlib
from pathlib import Path

from forgetflow.config.data import DataSettings
from forgetflow.errors import InputError

COMPRESSED = ("", ".gz", ".xz")


def source_path(settings: DataSettings) -> Path:
    """Return the file or folder that `settings.path` names.

    Raises:
        InputError: no path is set, or nothing is there.
    """
    if not settings.path:
        raise InputError(f"data source '{settings.source}' needs a path: set data.path")
    path = Path(settings.path).expanduser()
    if not path.exists():
        raise InputError(f"{path} does not exist: set data.path to the data on this machine")
    return path


def find_file(folder: Path, name: str) -> Path:
    """Return `folder/name`, plain or compressed (.gz, .xz).

    Raises:
        InputError: it is not there.
    """
    for suffix in COMPRESSED:
        path = folder / (name + suffix)
        if path.is_file():
            return path
    raise InputError(f"{folder / name}[.gz|.xz] not found: data.path must be the folder holding it")


def read_bytes(path: Path) -> bytes:
    """Return the content of `path`, decompressed when its name ends in .gz or .xz.

    Raises:
        InputError: the file cannot be read, is corrupt, or ends early.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check data.path") from None
    try:
        if path.suffix == ".gz":
            return gzip.decompress(data)
        if path.suffix == ".xz":
            return lzma.decompress(data)
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        raise InputError(
            f"{path} is corrupt or cut short ({path.suffix}): fetch the file again"
        ) from None
    return data


def train_and_test_files(path: Path) -> tuple[Path, Path | None]:
    """Return the training file and the test file, if there is one.

    Args:
        path: a file (then it holds everything), or a folder with `train.*` and maybe `test.*`.

    Raises:
        InputError: the folder has no training file, or several files of one name.
    """
    if path.is_file():
        return path, None
    train, test = _only(path, "train"), _only(path, "test")
    if train is None:
        raise InputError(f"{path} has no file train.*: name the file itself, or rename one")
    return train, test


def _only(folder: Path, stem: str) -> Path | None:
    found = sorted(one for one in folder.glob(f"{stem}.*") if one.is_file())
    if len(found) > 1:
        names = ", ".join(one.name for one in found)
        raise InputError(f"{folder} has several {stem} files ({names}): leave one of them")
    return found[0] if found else None
