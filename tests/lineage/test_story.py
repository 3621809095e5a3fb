import json
from dataclasses import replace

import pytest

from forgetflow.lineage.story import evidence, model_story, run_story, version_story, weights_story
from forgetflow.lineage.version import LineageTree
from forgetflow.lineage.view import COLUMNS, experiment_link, model_link, run_link, saved_view


class TestVersionStory:
    def test_tells_who_was_forgotten_how_and_what_it_promises(self, tree):
        story = version_story(tree, tree.by_number[3], "7")
        for part in (
            "forgets **30 records** asked for in 3 requests (batch `b2-finetune`, sealed "
            "2026-03-03, due 2026-04-03). 970 records are left",
            "**Method** `finetune`",
            "**Guarantee** approximate: nothing is promised",
            "**Gate** failed",
            "**State** published",
        ):
            assert part in story

    def test_links_parent_children_and_run(self, tree):
        story = version_story(tree, tree.by_number[2], "7")
        assert "Parent: [version 1, `original`](#/models/digits/versions/1?" in story
        assert "[version 3, `b2-finetune`](" in story
        assert "[version 4, `b2`](" in story
        assert f"(#/experiments/7/runs/{2:032d}?" in story

    def test_a_rebuilt_original_and_the_one_before_know_each_other(self, tree):
        assert "It supersedes [version 1" in version_story(tree, tree.by_number[5], "7")
        assert "Superseded by [version 5" in version_story(tree, tree.by_number[1], "7")

    def test_an_original_promises_no_forgetting(self, tree):
        assert "nothing was forgotten yet" in version_story(tree, tree.by_number[1], "7")

    def test_a_parent_that_is_gone_is_named_without_a_link(self, version):
        one = version(7, "b7", 6)
        story = version_story(LineageTree("m", 1, (one,)), one, "7")
        assert "Parent: version 6 (no longer registered)" in story

    def test_names_stay_inside_code_spans(self, version):
        one = version(1, "a`](javascript:x) | b", None)
        story = version_story(LineageTree("m", 1, (one,)), one, "7")
        assert "`a'](javascript:x) / b`" in story

    def test_other_stories_point_at_the_version(self, tree):
        four = tree.by_number[4]
        assert "versions/4?" in run_story(tree, four, "7")
        assert "versions/4?" in weights_story(tree, four)


METRICS = {
    "accuracy.unlearned.test": 0.9,
    "accuracy.oracle.test": 0.91,
    "accuracy.original.test": 0.95,
    "accuracy.parent.test": 0.93,
    "membership.unlearned.auc": 0.5,
    "membership.pairs": 6.0,
    "loss.unlearned.forget.mean": 0.2,
    "distance.parent.forget.js": 0.1,
    "test_accuracy": 0.9,
    "gate_passed": 1.0,
    "cost.seconds": 3.0,
    "points.counted": 5.0,
    "records.forget": 6.0,
    "lineage.version": 2.0,
}


class TestEvidence:
    def test_puts_the_judges_beside_the_model(self, tree):
        metrics = evidence(tree, replace(tree.by_number[2], metrics=METRICS))
        assert list(metrics) == [
            "accuracy.test",
            "membership.auc",
            "membership.pairs",
            "loss.forget.mean",
        ]
        assert list(metrics["accuracy.test"].items()) == [
            ("unlearned", 0.9),
            ("oracle", 0.91),
            ("parent", 0.93),
        ]

    def test_plain_measures_are_compared_with_the_parents_own(self, tree):
        assert evidence(tree, tree.by_number[2]) == {
            "test_accuracy": {"unlearned": pytest.approx(0.948), "parent": pytest.approx(0.949)}
        }

    def test_an_original_stands_alone(self, tree):
        one = replace(tree.by_number[1], metrics={"accuracy.original.test": 0.95})
        assert evidence(tree, one) == {"accuracy.test": {"original": 0.95}}


class TestModelStory:
    def test_lists_all_versions_with_links_and_explains_the_words(self, tree):
        story = model_story(tree, "7")
        for number in range(1, 6):
            assert f"](#/models/digits/versions/{number}?" in story
        for word in ("exact", "certified", "approximate", "non-adaptive", "`serving`", "`gate`"):
            assert word in story
        assert "Being served: [version 4" in story

    def test_stays_within_what_a_database_column_holds(self, version):
        versions = [version(1, "original", None)]
        versions += [version(n, f"2026-12-{n:02d}-some-batch", n - 1) for n in range(2, 300)]
        story = model_story(LineageTree("a-model-with-a-name", 1, tuple(versions)), "7")
        assert len(story) < 5000
        assert "`2026-12-299-some-batch`" in story
        assert " earlier versions\n- [v" in story


class TestView:
    def test_is_an_envelope_the_ui_can_read(self):
        view = json.loads(saved_view())
        assert {type(view["name"]), type(view["state"])} == {str}
        assert json.loads(view["state"])["selectedColumns"] == list(COLUMNS)

    def test_links_open_the_training_pages(self):
        links = [model_link("a b/c", 2), model_link("m"), run_link("1", "r"), experiment_link("1")]
        assert all("workflowType=machine_learning" in link for link in links)
        assert links[0].startswith("#/models/a%20b%2Fc/versions/2?")
