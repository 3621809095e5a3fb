import subprocess
import sys

from forgetflow.requests.book import RequestBook
from forgetflow.requests.ledger import Ledger

WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from forgetflow.config.project import Project
from forgetflow.requests.intake import add_request
from forgetflow.requests.ledger import Ledger

project, name = Project(Path(sys.argv[1])), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for i in range(12):
    fields = {"record": f"{name}-{i}", "requester": "me"}
    add_request(project, fields, datetime(2026, 1, 5, tzinfo=UTC))
    Ledger(project).append("unlearned", name, {"n": i})
"""


def test_two_writers_at_once_lose_nothing(make_project):
    project = make_project(None)
    names = ("b1", "b2")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(project.root), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    requests = RequestBook(project).requests()
    assert {one.record for one in requests} == {f"{n}-{i}" for n in names for i in range(12)}
    assert len({one.requester for one in requests}) == 1, "both used one key"
    entries = Ledger(project).verify()
    assert [one.facts["n"] for one in entries if one.batch == "b1"] == list(range(12))
    assert len(entries) == 24
