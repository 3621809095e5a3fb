"""Settings are described once, in the code: the page and params.yaml follow."""

import re
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel

from forgetflow.config.settings import Settings
from forgetflow.models.build import build
from forgetflow.training.recipe import engine_for
from tests.docs.blocks import REPOSITORY
from tools.settings_page import BEGIN, END, PAGE, blocks, with_tables

PARAMS = REPOSITORY / "params.yaml"
CHOSEN: dict[str, object] = {}
"""Settings in which the params.yaml of the demo differs from the defaults, each with its reason."""


def leaves(content, prefix=""):
    """Yield dotted path and value of every key that holds no further keys."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def test_the_page_says_what_the_code_says():
    page = PAGE.read_text()
    assert with_tables(page) == page, "run `make docs` and commit docs/settings.md"


def test_a_page_that_differs_would_be_found():
    page = PAGE.read_text().replace("| `finetune` |", "|")
    changed = page.replace("| `0.05` |", "| `0.01` |")
    assert changed != page
    assert with_tables(changed) == PAGE.read_text()


def test_every_setting_is_on_the_page():
    tables = PAGE.read_text().split(BEGIN)[1].split(END)[0]
    for path, block, depth in blocks(Settings()):
        heading = f"\n{'#' * (depth + 1)} {path}\n"
        own = tables.split(heading)[1].split("\n##")[0]
        for name in type(block).model_fields:
            nested = isinstance(getattr(block, name), BaseModel)
            assert nested or f"| `{name}` |" in own, f"{path}.{name}"


def test_params_have_the_defaults():
    defaults = dict(leaves(Settings().model_dump(mode="json")))
    params = dict(leaves(yaml.safe_load(PARAMS.read_text())))
    assert params.keys() <= defaults.keys()
    differing = {path: value for path, value in params.items() if value != defaults[path]}
    assert differing == CHOSEN


def commented():
    """Yield path, field and comment of every line of params.yaml that says something of a value."""
    text = re.sub(r"\n +#", "", PARAMS.read_text())  # a comment that goes on in the next line
    places: list[str] = []
    for line in text.splitlines():
        found = re.match(r"( *)([a-z_0-9]+): *([^#]*)(?:# *(.*))?$", line)
        if found:
            indent, name, value, comment = found.groups()
            places = [*places[: len(indent) // 2], name]
            if value.strip():
                yield ".".join(places), comment or ""


def test_comments_of_params_name_every_choice_or_none():
    looked_at = 0
    for path, comment in commented():
        *outer, name = path.split(".")
        block = Settings()
        for one in outer:
            block = getattr(block, one)
        choices = get_args(type(block).model_fields[name].annotation)
        if choices and all(isinstance(choice, str) for choice in choices):
            looked_at += 1
            named = {choice for choice in choices if re.search(rf"\b{choice}\b", comment)}
            assert named in (set(), set(choices)), (path, comment)
    assert looked_at > 8


def architectures():
    """Yield name, input shape, parameters and engine of every row of the page."""
    rows = re.findall(
        r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \| (\w+) \|$", PAGE.read_text(), re.MULTILINE
    )
    for name, sizes, engine in rows:
        for size, where in re.findall(r"([\d,]+) (?:on|with) ([^,]+(?:, 1 channel)?)", sizes):
            side = re.search(r"(\d+) x", where)
            channels = re.search(r"(\d+) channel", where)
            shape = (int(channels[1]) if channels else 1, *[int(side[1]) if side else 32] * 2)
            yield pytest.param(name, shape, int(size.replace(",", "")), engine, id=f"{name} {size}")


@pytest.mark.parametrize(("name", "shape", "parameters", "engine"), architectures())
def test_architectures_have_the_size_and_the_engine_that_the_page_says(
    name, shape, parameters, engine
):
    settings = Settings.model_validate({"model": {"architecture": name}})
    network = build(settings.model, shape, 10, 0)
    assert sum(one.numel() for one in network.parameters()) == parameters
    assert engine_for(settings) == engine


def test_every_network_is_on_the_page():
    names = {param.values[0] for param in architectures()}
    known = get_args(type(Settings().model).model_fields["architecture"].annotation)
    assert names == set(known) - {"forest", "autoencoder", "gaussian"}
