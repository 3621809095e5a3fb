"""Keyed pseudonyms: the same person gets the same name, and only the key's holder can tell who.

HMAC-SHA256 cut to 128 bits. Delete the key file and no pseudonym can be linked any more.
"""

import hashlib
import hmac
import os
import re
import secrets
import tempfile
from pathlib import Path

from forgetflow.config.project import Project
from forgetflow.errors import InputError

PSEUDONYM = r"^p-[0-9a-f]{32}$"
_KEY_BYTES = 32


def pseudonym(key: bytes, domain: str, value: str) -> str:
    """Return the pseudonym of `value`; other domains (requester, subject, ...) cannot be linked."""
    message = f"{len(domain)}:{domain}:{value}".encode(errors="surrogatepass")
    return f"p-{hmac.new(key, message, hashlib.sha256).hexdigest()[:32]}"


def is_pseudonym(value: str) -> bool:
    """Return whether `value` has the form of a pseudonym."""
    return re.fullmatch(PSEUDONYM, value) is not None


def pseudonym_key(project: Project) -> bytes:
    """Return the project's secret key; the first use makes it.

    Raises:
        InputError: the key file holds something else than a key.
    """
    path = project.root / project.settings.privacy.key_file
    if not path.exists():
        _create(path)
    try:
        key = bytes.fromhex(path.read_text().strip())
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise InputError(
            f"{path} is not a pseudonym key (64 hex digits): restore it from your backup, or "
            "delete it to start anew with pseudonyms that no longer match earlier ones"
        )
    return key


def _create(path: Path) -> None:
    """Write a fresh key, readable by its owner alone, unless another process was faster."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")  # made with mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(_KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link never replaces: of two processes racing here, the first one's key stays.
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        Path(temporary).unlink(missing_ok=True)
