"""Every key changes with every module that its task reaches, and with no other.

What a task reaches is found here in another way than in `keys.code`: from the import instructions
of compiled modules, instead of syntax trees.
"""

import dis
import re
from functools import cache
from pathlib import Path
from types import CodeType

import numpy as np
import pytest
import yaml

import forgetflow
from forgetflow.attribution import attribute
from forgetflow.attribution.registry import ATTRIBUTORS
from forgetflow.audit import audit
from forgetflow.audit.registry import AUDITS
from forgetflow.config.settings import Settings
from forgetflow.evaluation import evaluate
from forgetflow.evaluation.registry import MEASURES
from forgetflow.keys import code
from forgetflow.keys.code import code_digest, module_of
from forgetflow.models.registry import ARCHITECTURES
from forgetflow.partition import registry as partition
from forgetflow.training.recipe import CLOSED_FORM, MODULES, STACKABLE, Recipe
from forgetflow.unlearning.edit import EditMethod
from forgetflow.unlearning.protocol import jobs_of
from forgetflow.unlearning.registry import METHODS
from forgetflow.unlearning.view import View

PACKAGE = Path(forgetflow.__file__).parent
TRAINING = ("forgetflow.training.trainer",)


def names():
    """Return the dotted name of every module of the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if parts:
            found[".".join(("forgetflow", *parts))] = path
    return found


MODULE_FILES = names()


@cache
def imports(name):
    """Return the modules of the package that a module's instructions import."""
    source = re.sub(r"if TYPE_CHECKING:", "if False:", MODULE_FILES[name].read_text())
    found, waiting = set(), [compile(source, name, "exec")]
    while waiting:
        body = waiting.pop()
        waiting += [const for const in body.co_consts if isinstance(const, CodeType)]
        package = None
        for step in dis.get_instructions(body):
            if step.opname == "IMPORT_NAME":
                package = step.argval
                found.add(package)
            elif step.opname == "IMPORT_FROM":
                found.add(f"{package}.{step.argval}")
    return {one for one in found if one in MODULE_FILES}


def closure(roots):
    """Return what roots reach, registries and settings left out."""
    found, waiting = set(), list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [
                one
                for one in imports(name)
                if not one.endswith(".registry") and not one.startswith("forgetflow.config.")
            ]
    return found


def constituent(architecture, engine="auto"):
    """Return a maker of the digest of a recipe, which every content key starts from."""
    family = Settings.model_validate({"model": {"architecture": "mlp"}}).model
    family = family.model_copy(update={"architecture": architecture}).family
    method = {"network": "sisa", "forest": "monolith", "one-class": "arcane"}[family]
    settings = Settings.model_validate(
        {
            "model": {"architecture": architecture},
            "partition": {"method": method},
            "train": {"engine": engine},
            "run": {"device": "cpu"},
        }
    )
    return lambda: Recipe.from_settings(settings, (1, 16, 16), 3).digest


def keys(lab, records):
    """Return name -> (maker of a key, modules it stands on)."""
    found = {}
    for name, build in ARCHITECTURES.items():
        for engine in ("sequential", "stacked") if name in STACKABLE else ("auto",):
            default = "closed form" if name in CLOSED_FORM else "sequential"
            chosen = MODULES[default if engine == "auto" else engine]
            roots = (*TRAINING, chosen, module_of(build))
            found[f"constituent {name} {engine}"] = (constituent(name, engine), roots)
    for name, place in partition.PLACEMENTS.items():
        found[f"placement {name}"] = (lambda n=name: partition.code(n), (module_of(place),))
    for name, one in ATTRIBUTORS.items():
        roots = ("forgetflow.attribution.attribute", module_of(one))
        found[f"attribution {name}"] = (lambda n=name: attribute.code(n), roots)
    measures = map(module_of, MEASURES.values())
    found["evaluation"] = (evaluate.code, ("forgetflow.evaluation.evaluate", *measures))
    audits = map(module_of, AUDITS.values())
    roots = ("forgetflow.audit.audit", "forgetflow.pools.pool", *audits)
    found["audit"] = (audit.code, roots)
    space = lab.space(records)
    parent = lab.build(space)
    forget = np.arange(len(records)) < 2
    for name, method in METHODS.items():
        if isinstance(method, EditMethod):
            mlp = (*TRAINING, MODULES["stacked"], module_of(ARCHITECTURES["mlp"]))
            adapter = ("forgetflow.unlearning.edit", MODULES["sequential"])
            prepared = [module_of(one.compute) for one in method.prepares]
            prepared += ["forgetflow.unlearning.preparation"] if prepared else []
            roots = (*mlp, *adapter, *prepared, module_of(method._edit))

            def job(method=method):
                fresh = lab.space(records)
                view = View("b1", parent, method.needs, fresh, ~forget, forget)
                return [one.key for one in jobs_of(method, view) if one.fresh]

            found[f"method {name}"] = (job, roots)
    return found


@pytest.fixture(scope="module")
def made(lab, records):
    return keys(lab, records)


def test_all_keys_are_here(made):
    """Whoever asks for a digest of code is one of the callers that are tried below."""
    asks = re.compile(r"\bcode_digest\(")
    asking = {name for name, path in MODULE_FILES.items() if asks.search(path.read_text())}
    assert asking == {
        "forgetflow.keys.code",
        "forgetflow.training.recipe",
        "forgetflow.partition.registry",
        "forgetflow.attribution.attribute",
        "forgetflow.unlearning.edit",
        "forgetflow.unlearning.preparation",
        "forgetflow.pools.procedure",
        "forgetflow.evaluation.evaluate",
        "forgetflow.audit.audit",
    }


def test_a_key_changes_with_each_module_it_stands_on_and_with_no_other(made, monkeypatch):
    before = {name: make() for name, (make, _) in made.items()}
    reached = {name: closure(roots) for name, (_, roots) in made.items()}
    read = code._read

    def with_other(changed):
        def reading(name, folder):
            source = read(name, folder)
            return source if name != changed else code._Source("other", source.imports)

        return reading

    assert code_digest(*TRAINING)  # what it reads is kept
    for module in MODULE_FILES:
        monkeypatch.setattr(code, "_read", with_other(module))
        after = {name for name, (make, _) in made.items() if make() != before[name]}
        expected = {name for name, modules in reached.items() if module in modules}
        assert after == expected, module


def test_a_changed_vote_changes_metrics_and_no_model(made):
    """The leak that hand-kept lists had: how constituents are combined decides every metric."""
    for module in ("forgetflow.training.aggregation", "forgetflow.training.ensemble"):
        touched = {name for name, (_, roots) in made.items() if module in closure(roots)}
        assert {"evaluation", "audit", "attribution grad_dot"} <= touched
        assert not any(name.startswith(("constituent", "placement")) for name in touched)


# DVC looks at files: every stage names the folders that its work reaches.

STAGES = {
    "ingest": ("forgetflow.records.ingest",),
    "partition": tuple(module_of(one) for one in partition.PLACEMENTS.values()),
    "train": (
        *TRAINING,
        *MODULES.values(),
        *map(module_of, ARCHITECTURES.values()),
        "forgetflow.training.workspace",
        "forgetflow.training.card",
        "forgetflow.evaluation.evaluate",
        *map(module_of, MEASURES.values()),
    ),
    "attribute": ("forgetflow.attribution.attribute", *map(module_of, ATTRIBUTORS.values())),
    "forget": (
        *TRAINING,
        *MODULES.values(),
        *map(module_of, ARCHITECTURES.values()),
        "forgetflow.unlearning.runner",
        *(module_of(getattr(one, "_edit", one)) for one in METHODS.values()),
    ),
    "evaluate": (
        "forgetflow.evaluation.evaluate",
        *map(module_of, MEASURES.values()),
        "forgetflow.audit.audit",
        *map(module_of, AUDITS.values()),
        "forgetflow.pools.comparison",
        "forgetflow.pools.presupposed",
        "forgetflow.evaluation.gate",
        *(module_of(getattr(one, "_edit", one)) for one in METHODS.values()),
    ),
    "report": ("forgetflow.evaluation.report",),
}

WITHOUT_EFFECT = {"config", "files", "errors", "store", "requests", "keys"}
"""Rooms whose contents reach an output by their values, or keep bytes without making any."""


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_every_room_that_its_work_reaches(stage):
    stages = yaml.safe_load((PACKAGE.parents[1] / "dvc.yaml").read_text())["stages"]
    assert stages.keys() == STAGES.keys()
    described = stages[stage].get("do", stages[stage])
    named = {dep.removeprefix("src/forgetflow/") for dep in described["deps"] if "src/" in dep}
    rooms = {name.split(".")[1] for name in closure(STAGES[stage])} - WITHOUT_EFFECT
    assert rooms <= named, f"dvc.yaml: {stage} lacks {sorted(rooms - named)}"
