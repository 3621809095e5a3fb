import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forgetflow.errors import InputError
from forgetflow.files.jsonable import to_json
from forgetflow.requests.importers import read_requests
from forgetflow.requests.request import Selector

ROWS = [
    {"request_id": "q1", "record": "r1", "received_at": "2026-01-02T10:00:00Z"},
    {"subject": "ann", "reason": "moved away", "requester": "ann@example.org"},
    {"label": "dog", "due_at": "2026-03-01", "hold": "court order"},
    {"where": 'label == "cat" and age > 20'},
]
OPENDSR = {
    "regulation": "gdpr",
    "subject_request_id": "a7551968-d5d6-44b2-9831-815ac9017798",
    "subject_request_type": "erasure",
    "submitted_time": "2026-01-02T15:00:00Z",
    "subject_identities": [
        {"identity_type": "email", "identity_value": "ann", "identity_format": "raw"},
        {
            "identity_type": "controller_customer_id",
            "identity_value": "ann",
            "identity_format": "raw",
        },
    ],
    "api_version": "1.0",
    "status_callback_urls": ["https://example.org/callbacks"],
    "extensions": {"example.org": {"foo": 1}},
}


@pytest.fixture
def read(now, records):
    def read(path):
        return read_requests(
            path,
            due_days=30,
            now=now,
            pseudonymise=lambda _: "p-" + "a" * 32,
            schema=records.schema,
        )

    return read


def write(path, rows):
    match path.suffix:
        case ".json":
            path.write_text(json.dumps(rows))
        case ".jsonl":
            path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
        case ".csv":
            names = list(dict.fromkeys(name for row in rows for name in row))
            with path.open("w", newline="", encoding="utf-8-sig") as file:
                writer = csv.DictWriter(file, names)
                writer.writeheader()
                writer.writerows(rows)
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def with_all_names(rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name) for name in names} for row in rows]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".parquet", ".JSON"])
def test_every_format_gives_the_same_requests(tmp_path, read, suffix):
    plain = read(write(tmp_path / "plain.json", ROWS))
    path = write(tmp_path / f"r{suffix.lower()}", with_all_names(ROWS))
    path = path.rename(tmp_path / f"other{suffix}")
    assert read(path) == plain
    assert [one.selector for one in plain] == [
        Selector("record", "r1"),
        Selector("subject", "ann"),
        Selector("label", "dog"),
        Selector("where", 'label == "cat" and age > 20'),
    ]
    assert plain[0].request_id == "q1"
    assert plain[1].requester == "p-" + "a" * 32
    assert plain[2].hold == "court order"


@pytest.mark.parametrize("content", [ROWS[0], {"requests": ROWS[:1]}, ROWS[:1]])
def test_json_may_be_one_request_or_a_list(tmp_path, read, content):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(content))
    assert [one.request_id for one in read(path)] == ["q1"]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_opendsr(tmp_path, read, suffix):
    (request,) = read(write(tmp_path / f"r{suffix}", [OPENDSR]))
    assert request.request_id == OPENDSR["subject_request_id"]
    assert request.selector == Selector("subject", "ann")
    assert request.reason == "gdpr"
    assert to_json(request)["due_at"] == "2026-02-01T15:00:00Z"


def test_opendsr_version_3_and_csv_spell_identities_differently(tmp_path, read):
    three = OPENDSR | {
        "subject_identities": {"controller_customer_id": {"value": "ann", "encoding": "raw"}}
    }
    (expected,) = read(write(tmp_path / "one.json", [OPENDSR]))
    assert read(write(tmp_path / "three.json", [three])) == [expected]
    cell = {
        "subject_request_id": OPENDSR["subject_request_id"],
        "subject_request_type": "erasure",
        "submitted_time": OPENDSR["submitted_time"],
        "subject_identities": json.dumps(OPENDSR["subject_identities"]),
        "regulation": "gdpr",
    }
    assert read(write(tmp_path / "r.csv", [cell])) == [expected]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subject_request_type": "access"}, "subject_request_type is not 'erasure'"),
        ({"subject_request_id": None}, "subject_request_id is missing"),
        ({"subject_identities": []}, "subject_identities must hold identities"),
        ({"subject_identities": None}, "subject_identities must hold identities"),
        ({"subject_identities": ["ann"]}, "subject_identities must hold identities"),
        ({"subject_identities": [{"identity_type": "email"}]}, "each with 'identity_value'"),
        (
            {"subject_identities": [{"identity_value": "ann"}, {"identity_value": "bob"}]},
            "more than one subject id",
        ),
        ({"submitted_time": "soon"}, "not an ISO 8601 time"),
    ],
)
def test_opendsr_that_cannot_be_used_is_refused(tmp_path, read, change, message):
    path = write(tmp_path / "r.json", [OPENDSR, OPENDSR | change])
    with pytest.raises(InputError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: row 2: ")
    assert message in str(error.value)


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".parquet"])
def test_one_bad_row_refuses_the_file_and_is_named(tmp_path, read, suffix):
    rows = with_all_names([*ROWS, {"record": "r2", "subject": "s3cret"}])
    with pytest.raises(InputError) as error:
        read(write(tmp_path / f"r{suffix}", rows))
    assert "row 5: needs exactly one of" in str(error.value)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.txt", "x", "unknown kind of file; use .json, .jsonl, .csv, .parquet"),
        ("r.json", "[{", "not valid JSON at line 1, character 3"),
        ("r.json", "3", "must hold a request"),
        ("r.json", '{"requests": 3}', "must hold a request"),
        ("r.json", "[3]", "row 1: not an object"),
        ("r.json", "[]", "holds no request"),
        ("r.jsonl", "", "holds no request"),
        ("r.jsonl", '{"record": "r1"}\n\n{"rec', "row 3: not valid JSON"),
        ("r.csv", "", "holds no request"),
        ("r.csv", "record,record\nr1,r2\n", "names a column twice"),
        ("r.csv", "record,reason\nr1\n", "row 1: has 1 cells under 2 column names"),
        ("r.csv", 'record\n"r1', "is not valid CSV"),
        ("r.csv", b"record\n\xff\n", "is not valid CSV"),
        ("r.parquet", "no parquet", "is not valid PARQUET"),
        ("r.json", '[{"label": "cow"}]', "row 1: label: no such class; there are cat, dog, 2"),
        ("r.json", '[{"where": "agee > 3"}]', "row 1: where: at character 1: unknown column"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, read, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as error:
        read(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_a_missing_file_is_an_input_error(tmp_path, read):
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "none.json")
