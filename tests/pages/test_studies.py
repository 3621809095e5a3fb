"""The pages of studies: every row is on them, and a chart for every question."""

import pytest

from forgetflow.pages.arcane import arcane_page
from forgetflow.pages.forest import forest_page
from forgetflow.pages.sharding import sharding_page
from forgetflow.studies.arcane import ArcaneStudy
from forgetflow.studies.arcane_grid import ArcaneGrid, Head
from forgetflow.studies.draws import KINDS
from forgetflow.studies.forest import ForestStudy
from forgetflow.studies.forest_grid import ForestGrid
from forgetflow.studies.sharding import Sharding
from forgetflow.studies.sharding_counts import MODES
from forgetflow.studies.sharding_grid import ShardingGrid


def shown(value: float) -> str:
    return f"{100 * value:.1f}"


def sharding() -> Sharding:
    grid = ShardingGrid((1, 3), (1, 2), (1, 6), seeds=2, draws=400)
    cells, counts = [], []
    for number, (shards, slices) in enumerate(grid.cells):
        accuracy = {f"accuracy_{n}": 0.5 + number / 10 + i / 50 for i, n in enumerate(ENDS)}
        spread = {f"{name}_sd": 0.013 for name in accuracy}
        shape = {"shards": shards, "slices": slices, "seconds": 1.5 + number}
        cells.append(shape | accuracy | spread | {"accuracy_worst": 0.411 + number / 100})
        counts += [
            shape
            | {"kind": kind, "requests": requests, "mode": mode, "samples": 1000 * (number + 1)}
            | {"points": 999.0 + number, "expected": 1001.0, "deviation": 4.0 if number else None}
            | {"formula": None, "full": 8000, "lone_shard": 77, "speedup": 8 / (number + 1)}
            for kind in KINDS
            for requests in grid.requests
            for mode in MODES
        ]
    facts = {"records": 1234, "model": {"hidden": [8]}}
    return Sharding.of(grid, facts, cells, counts)


ENDS = ("mean", "vote", "lone")


def forest() -> ForestStudy:
    asked = {"seeds": 2, "singles": 5, "rounds": 2, "candidates": 30, "subjects": 1}
    grid = ForestGrid((0, 3), batches=(10, 20), **asked)
    depths, deletions = [], []
    for depth in grid.depths:
        row = {"random_depth": depth, "seeds": 2, "equal": 2, "nodes": 4321, "megabytes": 2.5}
        for n, name in enumerate(("accuracy", "reference_accuracy", "difference")):
            row |= {name: 0.8 + depth / 50 + n / 30, f"{name}_sd": 0.021}
        times = {"fit_seconds": 1.25, "reference_fit_seconds": 2.5, "fit_ratio": 0.5}
        depths.append(row | times)
        for number, (kind, size) in enumerate(
            [("subject", 4), ("batch", 20), ("single", 1), ("batch", 10), ("worst", 1)]
        ):
            costs = {f"rows{end}": 100 * number + depth for end in ("", "_median", "_most")}
            costs |= {f"seconds{end}": 0.01 * number for end in ("", "_median", "_most")}
            costs |= {"refit_rows": 9876, "refit_seconds": 3.5, "candidates_rows": None}
            for unit in ("rows", "seconds"):
                costs |= {f"speedup_{unit}": 10 - number, f"speedup_{unit}_median": None}
            who = {"random_depth": depth, "kind": kind, "records": size}
            deletions.append(who | costs | {"deletions": 5, "subtrees": 123.4})
    return ForestStudy.of(grid, {"records": 1234, "test_records": 60}, depths, deletions)


def arcane() -> ArcaneStudy:
    heads: tuple[Head, ...] = ("gaussian", "autoencoder")
    grid = ArcaneGrid(heads, (0.5,), (1, 5), (1, 4), seeds=2, draws=30, hidden=(3,), rate=None)
    learned = [("all", 1.0), ("joint", 0.5), ("threshold", 0.5), ("random", 0.5)]
    whole = [(name, "all", 1.0) for name in ("joint", "sisa")]
    models = [
        {"model": model, "selection": choice, "share": share, "blocks": blocks, "exact": True}
        | {"accuracy": 0.6 + n / 40, "accuracy_sd": 0.017, "worst_class": 0.3, "samples": 5000}
        | {"share_learned": share, "seconds": 2.5, "megabytes": 0.75}
        for n, (model, choice, share) in enumerate(
            [*whole, *((head, *one) for head in heads for one in learned)]
        )
        for blocks in grid.blocks
    ]
    asked = (("uniform", "batch"), ("uniform", "sequential"), ("class", "batch"))
    deletions = [
        {"model": model, "selection": choice, "share": share, "blocks": 5, "kind": kind}
        | {"exact": choice != "frozen", "requests": requests, "mode": mode, "samples": 432.0}
        | {"samples_se": 12.0, "formula": None, "idle": 0.25, "full": 9000, "full_selected": 4500}
        | {"speedup": 20.8, "speedup_selected": 10.4}
        for model, choice, share in [whole[1], *((h, c, 0.5) for h in heads for c in CHOSEN)]
        for kind, mode in (*asked, ("subject", "batch"))
        for requests in grid.requests
    ]
    orders = [
        {"order": order, "head": "gaussian", "blocks": 5, "requests": 4, "samples": 321.0}
        | {"samples_se": 3.0, "to_hash": -55.0, "to_hash_se": 2.0, "ratio": 0.85}
        for order in ("ascending", "hash", "descending")
    ]
    facts = {"records": 1234, "sorted_by": "a law"}
    return ArcaneStudy(grid, facts, models, deletions, orders)


CHOSEN = ("joint", "frozen")


def test_sharding_shows_every_cell_and_uniform_count(read) -> None:
    study = sharding()
    page = read(sharding_page(study))
    for cell in study.cells:
        figures = [f"{shown(cell[f'accuracy_{end}'])} ± 1.3 %" for end in ENDS]
        assert f"{cell['shards']} {cell['slices']} {' '.join(figures)}" in page.text
    assert page.text.count("served together") == 3 + len(study.cells) * 2  # charts, and the table
    assert len(page.labels()) == 3 + 6 + 1
    assert f"0 of {study.check.compared} counted means lie within 3 sigma" in page.text
    assert "1,234 records: 4 combinations of shards and slices, 2 builds each" in page.text


def test_forests_show_every_depth_and_kind_of_deletion_in_order(read) -> None:
    page = read(forest_page(forest()))
    places = [page.text.index(f" {name} 0 5 ") for name in NAMES]
    assert places == sorted(places)
    assert "4 of 4 forests are, after all deletions, byte-equal" in page.text
    assert "too few to tell" in page.text
    assert "80.0 ± 2.1 % 83.3 ± 2.1 % +86.7 ± 2.1" in page.text
    assert len(page.labels()) == 3


NAMES = ("one record", "adversary", "batch 10", "batch 20", "one person")


def test_arcane_shows_every_ensemble_deletion_and_order(read) -> None:
    study = arcane()
    page = read(arcane_page(study))
    for row in study.models:
        assert f"{shown(row['accuracy'])} ± 1.7 %" in page.text
    for text in ("Gaussian", "Autoencoder", "joint entropy, frozen (approximate)", "Whole people"):
        assert text in page.text
    assert page.text.count("432 ± 12") == len(study.deletions)
    assert "+5.0 pp with the gaussian and +15.0 pp with the autoencoder" in page.text
    assert len(page.labels()) == 2 + 4
    assert "anywhere gaussian 5 4 321 ± 3" in page.text


@pytest.mark.parametrize(
    ("make", "page"),
    [(sharding, sharding_page), (forest, forest_page), (arcane, arcane_page)],
)
def test_the_same_study_gives_the_same_bytes(make, page) -> None:
    assert page(make()) == page(make())
