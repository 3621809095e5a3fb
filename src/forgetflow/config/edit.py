"""Changes to `params.yaml` that keep its comments and order."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forgetflow.config.project import Project
from forgetflow.config.settings import Settings, parse_settings
from forgetflow.files.atomic import write_atomically


def changed_params(project: Project, changes: Mapping[str, Any]) -> tuple[Settings, bytes]:
    """Return settings and file text with dotted keys set, e.g. `{"data.source": "idx"}`.

    Raises:
        InputError: the result would not be valid settings.
    """
    from ruamel.yaml import YAML  # of the command line only: a bare box reads settings without it

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1000  # a digest stays on the line of its key
    yaml.representer.add_representer(
        type(None), lambda emitter, _: emitter.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    content = yaml.load((project.root / "params.yaml").read_text())
    for key, value in changes.items():
        block, name = key.split(".")
        content.setdefault(block, {})[name] = value
    text = io.StringIO()
    yaml.dump(content, text)
    return parse_settings(_plain(content)), text.getvalue().encode()


def write_params(project: Project, text: bytes) -> None:
    """Replace `params.yaml`."""
    write_atomically(project.root / "params.yaml", text)


def portable(project: Project, path: str | None) -> str | None:
    """Return `path` relative to the project where it lies inside, else absolute."""
    if path is None:
        return None
    absolute = Path(path).expanduser().resolve()
    inside = absolute.is_relative_to(project.root)
    return str(absolute.relative_to(project.root) if inside else absolute)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value
