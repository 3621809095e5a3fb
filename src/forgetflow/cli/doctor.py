"""Health checks: what is there, what is wrong, what to do about it."""

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal

from forgetflow.config.project import Project
from forgetflow.errors import ForgetflowError

if TYPE_CHECKING:
    from forgetflow.training.card import ModelCard

TOOLS = ("torch", "pyarrow", "prefect", "dvc", "mlflow", "fastapi")


@dataclass(frozen=True)
class Finding:
    """One check: its level, what was found, and what to do where that is not fine."""

    check: str
    level: Literal["ok", "warning", "error"]
    found: str
    advice: str = ""

    @property
    def mark(self) -> str:
        """One sign per level."""
        return {"ok": "✓", "warning": "!", "error": "✗"}[self.level]


def examine(project: Project) -> list[Finding]:
    """Run every check; a check that raises becomes an error finding, the others still run."""
    checks: list[tuple[str, Callable[[Project], list[Finding]]]] = [
        ("settings", _settings),
        ("versions", _versions),
        ("disk", _disk),
        ("cache", _cache),
        ("environment", _environment),
        ("determinism", _determinism),
        ("records", _records),
        ("extractor", _extractor),
        ("ledger", _ledger),
        ("store", _store),
        ("models", _models),
        ("server", _server),
    ]
    findings: list[Finding] = []
    for name, check in checks:
        try:
            findings += check(project)
        except ForgetflowError as error:
            findings.append(Finding(name, "error", str(error)))
    return findings


def _settings(project: Project) -> list[Finding]:
    settings = project.settings
    shards, slices = settings.partition.layout
    layout = f"{shards} shards x {slices} slices"
    if settings.partition.method == "arcane":
        layout = f"a shard per class x {slices} slices"
    return [Finding("settings", "ok", f"params.yaml is valid; {layout}")]


def _versions(project: Project) -> list[Finding]:  # noqa: ARG001
    findings = [Finding("python", "ok", sys.version.split()[0])]
    for tool in TOOLS:
        try:
            findings.append(Finding(tool, "ok", version(tool)))
        except PackageNotFoundError:
            findings.append(Finding(tool, "error", "not installed", "make setup"))
    minor = int(version("fastapi").split(".")[1])
    if minor >= 155:
        advice = "pip install -r requirements.lock"
        findings.append(Finding("fastapi", "error", "Prefect 3.8.8 cannot run beside it", advice))
    return findings


def _disk(project: Project) -> list[Finding]:
    free = shutil.disk_usage(project.root).free / 2**30
    level: Literal["ok", "warning"] = "ok" if free > 1 else "warning"
    return [Finding("disk", level, f"{free:.1f} GiB free", "" if free > 1 else "make room")]


def _cache(project: Project) -> list[Finding]:  # noqa: ARG001
    """Say what decides how many small networks train in lockstep on a CPU; their bits do not."""
    from forgetflow.training.memory import UNKNOWN_CACHE, core_cache

    size = core_cache()
    if size:
        return [Finding("cache", "ok", f"{size // 1024} KiB second-level cache a core")]
    found = f"size unknown to torch; {UNKNOWN_CACHE // 1024} KiB assumed"
    return [Finding("cache", "warning", found, "nothing: pools may train slower, to the same bits")]


def _environment(project: Project) -> list[Finding]:
    from forgetflow.training import environment

    device = environment.activate(project.settings.run.device)
    facts = environment.fingerprint(device)
    found = ", ".join(f"{name}={value}" for name, value in facts.items())
    if environment.is_pinned():
        return [Finding("environment", "ok", found)]
    return [
        Finding(
            "environment",
            "warning",
            found,
            "unset MKL_CBWR and CUBLAS_WORKSPACE_CONFIG, import forgetflow before torch",
        )
    ]


def _determinism(project: Project) -> list[Finding]:
    """Train the same tiny model twice and compare bits."""
    import numpy as np
    import torch

    from forgetflow.keys.digests import digest_of
    from forgetflow.training.chain import Samples
    from forgetflow.training.closed_form import extend
    from forgetflow.training.learners import Resident
    from forgetflow.training.recipe import Recipe
    from forgetflow.training.registry import learners

    forest = project.settings.model.forest.model_copy(update={"reference": None})
    model = project.settings.model.model_copy(update={"forest": forest})
    settings = project.settings.model_copy(update={"model": model})
    recipe = Recipe.from_settings(settings, (1, 8, 8), 2)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(32, 1, 8, 8, generator=generator).numpy()
    names = torch.randint(256, (32, 32), generator=generator).numpy().astype("uint8")
    samples = Samples(inputs, np.arange(32) % 2, names)
    data = Resident.of([samples], recipe)
    size = min(recipe.train.batch_size, 32)
    rows = torch.arange(size).repeat(5, 1, 1)
    digests = []
    for _ in range(2):
        if recipe.engine == "closed form":
            state = extend(recipe, 0, None, [samples])
        else:
            learner = learners(recipe, [(0, 0)])
            learner.steps(data, rows, torch.full((5, 1), size))
            state = learner.state(0)
        digests.append(digest_of({n: t.tolist() for n, t in state.items()}))
    if digests[0] == digests[1]:
        return [
            Finding("determinism", "ok", f"two trainings on {recipe.device.type} are bit-equal")
        ]
    return [
        Finding(
            "determinism",
            "error",
            "two equal trainings differ",
            "exact guarantees do not hold here; use run.device cpu",
        )
    ]


def _records(project: Project) -> list[Finding]:
    from forgetflow.records.record_set import read_record_set

    if not any(project.train.glob("*.parquet")):
        return [Finding("records", "warning", "none yet", "dvc repro ingest")]
    records = read_record_set(project.train)
    records.check_digests()
    return [Finding("records", "ok", f"{len(records)} training records, digests match")]


def _extractor(project: Project) -> list[Finding]:
    from forgetflow.records.record_set import read_record_set
    from forgetflow.records.schema import ExtractedFeatures

    named = project.settings.data.extractor_digest
    found = None
    if any(project.train.glob("*.parquet")):
        features = read_record_set(project.train).schema.features
        found = features.extractor if isinstance(features, ExtractedFeatures) else None
        if found != named:
            what = "the records were not made by the extractor that params.yaml names"
            return [Finding("extractor", "error", what, "dvc repro")]
    if named is None:
        return []
    from forgetflow.records.extractor import project_extractor

    extractor = project_extractor(project)
    size = f"{extractor.width} features per record, files match their digest"
    return [Finding("extractor", "ok", size)]


def _ledger(project: Project) -> list[Finding]:
    from forgetflow.requests.batches import sealed_manifests
    from forgetflow.requests.ledger import Ledger

    entries, manifests = Ledger(project).verify(), sealed_manifests(project)
    found = f"{len(entries)} ledger entries, {len(manifests)} sealed batch(es), digests match"
    return [Finding("ledger", "ok", found)]


def _store(project: Project) -> list[Finding]:
    from forgetflow.store.receipt import FORMAT
    from forgetflow.store.store import Store

    store = Store(project.store)
    receipts = list(store.receipts())
    bad = sum(store.verify(receipt.key) is None for receipt in receipts)
    size = sum(receipt.size for receipt in receipts) / 2**20
    if bad:
        found = f"{bad} of {len(receipts)} objects are damaged"
        return [Finding("store", "warning", found, "dvc repro --force rebuilds them")]
    findings = [Finding("store", "ok", f"{len(receipts)} objects, {size:.1f} MiB, digests match")]
    former = [receipt for receipt in receipts if receipt.format != FORMAT]
    if former:
        size = sum(receipt.size for receipt in former) / 2**20
        found = f"{len(former)} objects, {size:.1f} MiB, of a former version: nothing reads them"
        findings.append(Finding("former store", "warning", found, "see docs/upgrading.md"))
    return findings


def _models(project: Project) -> list[Finding]:
    from forgetflow.training.card import FormerVersionError, read_card
    from forgetflow.training.ensemble import Ensemble

    folders = sorted(path.parent for path in project.root.glob("models/[!.]*/model.json"))
    if not folders:
        return [Finding("models", "warning", "none yet", "dvc repro")]
    former = []
    for folder in folders:
        try:
            Ensemble.load(folder)
        except FormerVersionError:
            former.append(folder.name)
    if former:
        found = f"{', '.join(former)}: written by a former version, which this one does not read"
        return [Finding("models", "error", found, "dvc repro --force; see docs/upgrading.md")]
    other = _of_other_code(project, [read_card(folder) for folder in folders])
    if other:
        found = f"{', '.join(other)}: made by other settings, code or numeric environment"
        return [Finding("models", "warning", found, "dvc repro; see docs/upgrading.md")]
    return [Finding("models", "ok", f"{len(folders)} generation(s), weights match their cards")]


def _of_other_code(project: Project, cards: Sequence["ModelCard"]) -> list[str]:
    """Return the generations whose recipe is not that of a build here and now."""
    from forgetflow.training.workspace import Workspace

    if not (project.partition / "assignment.parquet").is_file():
        return []
    recipe = Workspace.open(project).recipe.digest
    return [card.generation for card in cards if card.recipe != recipe]


def _server(project: Project) -> list[Finding]:
    from flows.runtime import running_server

    url = running_server(project)
    found = f"answers at {url}" if url else "not running; started when a flow needs it"
    return [Finding("prefect server", "ok", found)]
