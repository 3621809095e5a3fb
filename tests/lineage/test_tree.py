import json
import re
import sys
from dataclasses import replace

import pytest

from forgetflow.config.project import Project
from forgetflow.files.jsonable import from_json
from forgetflow.lineage.tree import as_json, as_mermaid, as_text, batch_text, count, read_tree
from forgetflow.lineage.version import LineageTree


@pytest.fixture
def nobody():
    return LineageTree("digits", None, ())


class TestRelatives:
    def test_path_leads_from_the_original(self, tree):
        assert [v.number for v in tree.path(tree.by_number[4])] == [1, 2, 4]

    def test_manifests_are_those_of_all_ancestors(self, tree):
        assert tree.manifests(tree.by_number[4]) == {"2" * 64, "4" * 64}
        assert tree.manifests(tree.by_number[1]) == frozenset()

    def test_the_current_original_comes_first(self, tree):
        assert [v.number for v in tree.tops] == [1, 5]
        assert [v.number for v in replace(tree, current_root=5).tops] == [5, 1]

    def test_aliases_move_without_doubling(self, tree):
        moved = tree.with_aliases({"serving": 2})
        assert moved.by_number[2].aliases == ("serving",)
        assert moved.by_number[4].aliases == ("candidate",)
        assert moved.by_number[1].aliases == ("original",)


class TestText:
    def test_one_line_a_version_with_its_facts(self, tree):
        lines = as_text(tree).splitlines()
        assert len(lines) == 5
        line = next(line for line in lines if "v3 b2-finetune" in line)
        for fact in ("finetune, approximate", "−30", "970 left", "3 requests", "gate failed"):  # noqa: RUF001
            assert fact in line
        assert "[candidate, serving]" in as_text(tree)
        assert "supersedes v1" in lines[-1]

    def test_only_siblings_open_a_branch(self, tree):
        lines = as_text(tree).splitlines()
        assert [line.split(" v")[0] for line in lines] == ["●", "●", "├─●", "●", "●"]

    def test_columns_line_up(self, tree):
        lines = as_text(tree).splitlines()
        assert len({line.index("gate ") for line in lines}) == 1

    def test_a_version_whose_parent_is_gone_says_so(self, version):
        text = as_text(LineageTree("m", 1, (version(7, "b7", 6),)))
        assert "parent v6 is no longer registered" in text

    def test_a_long_history_is_no_deep_recursion(self, version):
        many = sys.getrecursionlimit() + 100
        versions = [version(1, "original", None)]
        versions += [version(n, f"b{n}", n - 1, deletion=None) for n in range(2, many)]
        text = as_text(LineageTree("m", 1, tuple(versions)))
        assert max(len(line) - len(line.lstrip()) for line in text.splitlines()) == 0

    def test_nothing_yet(self, nobody):
        assert as_text(nobody) == "digits: no version is registered yet"


class TestMermaid:
    def test_every_version_is_a_node_and_every_parent_an_edge(self, tree):
        text = as_mermaid(tree)
        assert text.startswith("flowchart TD\n")
        assert re.findall(r'^  v(\d)\["', text, re.MULTILINE) == ["1", "2", "3", "4", "5"]
        assert re.findall(r'v(\d) -->\|"[^"]*"\| v(\d)', text) == [
            ("1", "2"),
            ("2", "3"),
            ("2", "4"),
        ]
        assert 'v1 -. "superseded by" .-> v5' in text
        assert "batch b2: 40 records, 4 requests, sealed 2026-03-04" in text

    def test_names_cannot_break_the_syntax(self, version):
        name = 'a"]; click v1 "<script>`#\n|'
        text = as_mermaid(LineageTree("m", 1, (version(1, name, None),)))
        node = text.splitlines()[1]
        assert node.count('"') == 2
        assert "<script>" not in text
        assert "#quot;" in node
        assert node.endswith(":::exact")

    def test_nothing_yet(self, nobody):
        assert as_mermaid(nobody).startswith("flowchart TD\n")


class TestJson:
    def test_round_trip(self, tree, nobody):
        for one in (tree, nobody):
            assert from_json(LineageTree, json.loads(as_json(one))) == one

    def test_speaks_of_versions(self, tree):
        data = json.loads(as_json(tree))
        assert [v["version"] for v in data["versions"]] == [1, 2, 3, 4, 5]
        assert data["versions"][3]["deletion"]["records"] == 40


def test_counts_and_batches_read_as_english(tree):
    assert count(1, "record") == "1 record"
    assert count(1234, "record") == "1,234 records"
    assert batch_text(tree.by_number[1]) == ""


def test_reading_a_project_without_models_makes_no_database(tmp_path):
    (tmp_path / "params.yaml").write_text("lineage: {model_name: faces}\n")
    assert read_tree(Project(tmp_path)) == LineageTree("faces", None, ())
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
