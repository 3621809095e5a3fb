import csv
import json
from html.parser import HTMLParser

import numpy as np
import pytest

from forgetflow.config.gate import GateSettings
from forgetflow.config.project import Project
from forgetflow.evaluation.evaluate import Evaluation, evaluate, with_extra, write_evaluation
from forgetflow.evaluation.gate import check_gate
from forgetflow.evaluation.report import Entry, read_entries, report_files, summarise
from forgetflow.pages.report.page import build_report

VOID = {"meta", "br", "line", "rect", "path"}


class Page(HTMLParser):
    """Checks that tags nest, and collects text, tags and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)


def widths(page: Page, kind: str) -> list[float]:
    return [
        float(attrs["width"] or 0)
        for tag, attrs in page.tags
        if tag == "rect" and attrs["class"] == kind
    ]


@pytest.fixture
def deletion(attacked, make_card):
    """Return a maker of entries of a generation that forgot 20 records."""

    def make(batch="b1", parent_forgets=False, points=None, **changes):
        unseen = np.linspace(0.05, 0.6, 20)
        remembered = unseen if parent_forgets else unseen / 20
        context = attacked(
            unlearned=(unseen, unseen), parent=(remembered, unseen), oracle=(unseen * 1.01, unseen)
        )
        extra = {
            "points": points or {"counted": 1500, "full_retraining": 6000.0},
            "audit": {"ulira": {"value": 0.5}, "misbehaving": 0, "no_power": 0, "members": 16},
        }
        evaluation = with_extra(evaluate(context), extra)
        card = make_card(
            batch,
            **(
                {"parent": "original", "method": "sisa", "forgotten": 20, "manifests": ("0",)}
                | changes
            ),
        )
        gate = check_gate(evaluation.metrics, GateSettings(), card.guarantee, 20)
        return Entry(card, evaluation, gate)

    return make


@pytest.fixture
def original(make_card, attacked):
    context = attacked(original=(np.full(20, 0.1), np.full(20, 0.1)))
    alone = type(context)(context.models, {"test": context.sets["test"]}, context.settings)
    evaluation = evaluate(alone)
    gate = check_gate(evaluation.metrics, GateSettings(), "exact", 0, evaluation.reasons)
    return Entry(make_card(), evaluation, gate)


def test_a_row_holds_what_was_measured(deletion) -> None:
    values = summarise(deletion()).values
    assert values["generation"] == "b1"
    assert (values["method"], values["guarantee"]) == ("sisa", "exact")
    assert values["forget_accuracy"] == deletion().evaluation.figure("accuracy.unlearned.forget")
    assert values["membership_auc_oracle"] == deletion().evaluation.figure("membership.oracle.auc")
    assert (values["records_retrained"], values["records_full_retraining"]) == (1500, 6000.0)
    assert values["seconds"] is None
    assert summarise(deletion()).missing["seconds"] == "not measured"


def test_the_page_is_self_contained(original, deletion) -> None:
    html = build_report([original, deletion()])
    page = Page(html)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
    assert "http" not in html
    assert "url(" not in html
    assert "prefers-color-scheme: dark" in html
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    links = {attrs["href"] for tag, attrs in page.tags if tag == "a"}
    assert links == {f"#{one}" for one in ids}


def test_what_each_guarantee_means_is_said(deletion) -> None:
    exact = Page(build_report([deletion()])).text
    assert "byte for byte" in exact
    assert "one numeric environment" in exact
    assert "non-adaptive" in exact
    assert "no promise" not in exact
    approximate = Page(build_report([deletion(method="finetune", guarantee="approximate")])).text
    assert "Approximate: no promise." in approximate
    assert "byte for byte" not in approximate


def test_missing_values_are_dashes_with_a_reason(original) -> None:
    page = Page(build_report([original]))
    dashes = [attrs["title"] for _, attrs in page.tags if attrs.get("class") == "missing"]
    assert "this is the first build: nothing was forgotten" in dashes
    assert page.text.count("this is the first build") == 1  # one footnote for all its dashes
    assert "None" not in page.text
    assert "nan" not in page.text


def test_an_approximate_model_is_not_green_when_its_parent_would_pass(deletion) -> None:
    def badge(**changes) -> str:
        page = Page(build_report([deletion(**changes)]))
        classes = (attrs.get("class") or "" for _, attrs in page.tags)
        return next(name for name in classes if name.startswith("badge"))

    assert badge(guarantee="approximate", parent_forgets=True) == "badge skipped"
    assert badge(guarantee="approximate", parent_forgets=False) == "badge passed"
    assert badge(guarantee="exact", parent_forgets=True) == "badge passed"


def test_a_stopped_model_is_named_at_the_top(deletion) -> None:
    entry = deletion()
    strict = GateSettings(max_membership_gap=0.001)
    stopped = Entry(
        entry.card, entry.evaluation, check_gate(entry.evaluation.metrics, strict, "exact", 20)
    )
    assert "the gate stops b1" in Page(build_report([stopped])).text


def test_figures_draw_the_numbers(original, deletion) -> None:
    page = Page(build_report([original, deletion()]))
    bars, tracks = widths(page, "bar"), widths(page, "track")
    assert len([tag for tag, _ in page.tags if tag == "svg"]) == 3
    assert bars[-1] / tracks[-1] == pytest.approx(0.25, abs=0.001)  # 1,500 of 6,000 records
    assert "25.0 %" in page.text.replace("\u00a0", " ")


def test_cost_beyond_full_retraining_fits_the_figure(deletion) -> None:
    page = Page(build_report([deletion(points={"counted": 12_000, "full_retraining": 6000.0})]))
    bars, tracks = widths(page, "bar"), widths(page, "track")
    assert bars[-1] == pytest.approx(2 * tracks[-1], abs=0.2)
    assert bars[-1] == pytest.approx(tracks[0], abs=0.2)


def test_names_cannot_break_the_page(deletion) -> None:
    html = build_report([deletion(batch='<b>"x&y', method="<i>")])
    Page(html)
    assert '<b>"x' not in html
    assert "<i>" not in html


def test_a_project_without_models_has_a_page_too() -> None:
    assert "There is no model yet" in Page(build_report([])).text


def test_a_project_is_read_parents_first_and_written_the_same_twice(
    tmp_path, original, deletion
) -> None:
    project = Project(tmp_path)
    first, second = deletion("z-first"), deletion("a-second", manifests=("0", "1"))
    for entry in (second, original, first):
        folder = project.model(entry.card.generation)
        folder.mkdir(parents=True)
        (folder / "model.json").write_text(json.dumps(entry.card.to_json()))
        if entry is not second:
            write_evaluation(
                entry.evaluation, project.evaluation(entry.card.generation), gate=entry.gate
            )
    entries = read_entries(project)
    assert [one.card.generation for one in entries] == ["original", "z-first", "a-second"]
    assert entries[1] == first
    assert entries[2].evaluation == Evaluation({})

    files = report_files(entries)
    assert sorted(files) == ["report.csv", "report.json"]
    assert report_files(read_entries(project)) == files

    report = json.loads(files["report.json"])
    assert [row["generation"] for row in report["generations"]] == [
        "original",
        "z-first",
        "a-second",
    ]
    assert report["missing"]["a-second"]["test_accuracy"] == "this model was not evaluated"
    rows = list(csv.DictReader(files["report.csv"].decode().splitlines()))
    assert float(rows[1]["records_retrained"]) == 1500
    assert rows[2]["gate"] == ""
