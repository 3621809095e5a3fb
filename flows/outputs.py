"""Receipts of output folders: a cached task counts only if its files are there, byte for byte."""

import json
from pathlib import Path

from forgetflow.files.atomic import write_atomically
from forgetflow.files.formats import json_bytes
from forgetflow.keys.digests import bytes_digest

RECEIPT = "receipt.json"


def write_receipt(folder: Path, key: str) -> dict[str, str]:
    """Note which files `key` made in `folder`; returns file name -> sha256."""
    files = _digests(folder)
    write_atomically(folder / RECEIPT, json_bytes({"key": key, "files": files}))
    return files


def holds(folder: Path, key: str) -> bool:
    """Return whether `folder` holds what `key` made, unaltered."""
    try:
        receipt = json.loads((folder / RECEIPT).read_bytes())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return bool(receipt == {"key": key, "files": _digests(folder)})


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECEIPT)
    return {str(path.relative_to(folder)): bytes_digest(path.read_bytes()) for path in files}
