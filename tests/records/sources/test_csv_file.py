import csv
import gzip
import io
import lzma

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetflow.config.data import DataSettings
from forgetflow.errors import InputError
from forgetflow.records.schema import ColumnFeatures
from forgetflow.records.sources.registry import import_records

HEADER = "id,person,age,town,member,label,risk\n"
ROWS = [
    "a1,007,30,Oslo,true,no,0.5\n",
    "a2,007,40.5,Bern,false,yes,\n",
    "a3,8,-1e3,Oslo,true,no,0\n",
    'a4,9,+.5,"Rome, old",false,yes,1\n',
]
ROLES = {"record_id": "id", "subject_id": "person", "deletion_prior": "risk"}
TEST = HEADER + "b1,20,1,Oslo,true,no,\nb2,21,2,Paris,false,yes,0.1\n"


def read(path, **settings):
    return import_records(DataSettings(source="csv", path=str(path), **settings))


@pytest.fixture
def folder(tmp_path):
    """A folder with train.csv and test.csv."""
    (tmp_path / "train.csv").write_text(HEADER + "".join(ROWS))
    (tmp_path / "test.csv").write_text(TEST)
    return tmp_path


def test_round_trip(folder):
    imported = read(folder, **ROLES)
    train = imported.train
    assert train.record_ids == ["a1", "a2", "a3", "a4"]
    assert train.subject_ids == ["007", "007", "8", "9"]
    assert train.schema.class_names == ("no", "yes")
    assert train.labels.tolist() == [0, 1, 0, 1]
    np.testing.assert_array_equal(train.priors, [0.5, np.nan, 0, 1])
    assert train.schema == imported.test.schema
    assert train.schema.features == ColumnFeatures(("age",), ("town", "member"), 16)
    assert train.table["age"].to_pylist() == [30, 40.5, -1000, 0.5]
    assert train.table["town"].to_pylist() == ["Oslo", "Bern", "Oslo", "Rome, old"]
    assert train.table["member"].to_pylist() == ["true", "false", "true", "false"]
    assert train.inputs.shape == (4, 1 + 2 * 16)
    assert imported.test.record_ids == ["b1", "b2"]


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_compressed(folder, suffix):
    plain = read(folder, **ROLES)
    for path in list(folder.iterdir()):
        pack = gzip.compress if suffix == ".gz" else lzma.compress
        (folder / (path.name + suffix)).write_bytes(pack(path.read_bytes()))
        path.unlink()
    assert read(folder, **ROLES).train.digest == plain.train.digest


def test_single_file_is_split_by_subject(tmp_path):
    rows = [f"{i},s{i // 4},{i}.5,{'ab'[i % 2]}\n" for i in range(400)]
    (tmp_path / "all.csv").write_text("row,person,x,label\n" + "".join(rows))
    imported = read(tmp_path / "all.csv", record_id="row", subject_id="person", test_fraction=0.3)
    assert len(imported.train) + len(imported.test) == 400
    assert not set(imported.train.subject_ids) & set(imported.test.subject_ids)


def test_ids_are_made_from_the_position(folder):
    ids = ("id", "person", "risk")
    for path in folder.iterdir():
        rows = list(csv.DictReader(io.StringIO(path.read_text())))
        names = [name for name in rows[0] if name not in ids]
        path.write_text("\n".join(",".join(f'"{row[n]}"' for n in names) for row in
                                  [dict(zip(names, names, strict=True)), *rows]))  # fmt: skip
    imported = read(folder)
    assert imported.train.record_ids == [f"csv-train-{i:05d}" for i in range(4)]
    assert imported.train.subject_ids == imported.train.record_ids
    assert imported.test.record_ids == ["csv-test-00000", "csv-test-00001"]
    assert np.isnan(imported.train.priors).all()


def test_numbers_may_be_declared_categories(folder):
    train = read(folder, categorical=("age",), **ROLES).train
    assert train.schema.features == ColumnFeatures((), ("age", "town", "member"), 16)
    assert train.table["age"].to_pylist() == ["30", "40.5", "-1e3", "+.5"]


def test_spaces_byte_order_mark_blank_lines_and_line_ends_do_not_count(folder):
    plain = read(folder, **ROLES).train.digest
    rows = [HEADER, *ROWS[:3]]
    text = "".join(row.replace(",", " , ") for row in rows) + ROWS[3]
    text = text.replace("\n", "\r\n\r\n")
    (folder / "train.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read(folder, **ROLES).train.digest == plain


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(4)))
def test_row_order_changes_nothing(tmp_path_factory, order):
    folder = tmp_path_factory.mktemp("csv")
    (folder / "test.csv").write_text(TEST)
    (folder / "train.csv").write_text(HEADER + "".join(ROWS))
    expected = read(folder, **ROLES).train.table
    (folder / "train.csv").write_text(HEADER + "".join(ROWS[i] for i in order))
    assert read(folder, **ROLES).train.table == expected


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a2,", "a9,"),
        ("007,40.5", "008,40.5"),
        ("40.5", "40.25"),
        ("Bern", "Born"),
        ("yes,\n", "no,\n"),
    ],
)
def test_digest_sees_one_changed_cell(folder, old, new):
    before = read(folder, **ROLES).train
    text = (folder / "train.csv").read_text()
    assert text.count(old) == 1
    (folder / "train.csv").write_text(text.replace(old, new))
    after = read(folder, **ROLES).train
    kept = {row.tobytes() for row in before.digests} & {row.tobytes() for row in after.digests}
    assert len(kept) == 3
    assert after.digest != before.digest


cells = st.one_of(st.sampled_from(["1", "2.5", "-3e2"]), st.sampled_from(["x", "y 2", "true"]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(cells, cells), min_size=2, max_size=6), st.data())
def test_kind_of_a_column_does_not_depend_on_which_records_are_left(tmp_path_factory, rows, data):
    folder = tmp_path_factory.mktemp("csv")

    def kinds(rows):
        for name in ("train", "test"):
            lines = [f"{name}{i},{p},{q},a\n" for i, (p, q) in enumerate(rows)]
            (folder / f"{name}.csv").write_text("id,p,q,label\n" + "".join(lines))
        return read(folder, record_id="id").train.schema.features

    numbers = {"1", "2.5", "-3e2"}
    if any(numbers & {*column} and {*column} - numbers for column in zip(*rows, strict=True)):
        with pytest.raises(InputError, match="not declared in data"):
            kinds(rows)
        return
    everyone = kinds(rows)
    kept = data.draw(st.lists(st.sampled_from(rows), min_size=1, max_size=5))
    assert kinds(kept) == everyone


finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
words = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1)
words = words.map(lambda text: "w" + text.strip())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(finite, words, words), min_size=1, max_size=8))
def test_any_cell_survives(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("csv")
    for name in ("train", "test"):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "number", "word", "label"])
            for i, (number, word, label) in enumerate(rows):
                writer.writerow([f"{name}-{i}", repr(number), word.replace("\n", " "), label])
    train = read(folder, record_id="id").train
    assert train.table["number"].to_pylist() == [number for number, _, _ in rows]
    assert train.table["word"].to_pylist() == [word for _, word, _ in rows]
    assert [train.schema.class_names[i] for i in train.labels] == [label for _, _, label in rows]


def test_quoted_cells_may_hold_many_lines(tmp_path):
    """Longer than the blocks that the parser reads, so that block ends fall inside cells."""
    cell = "some words\n" * 10_000
    for name in ("train", "test"):
        rows = [f'{name}{i},"{cell}{i}",a\n' for i in range(25)]
        (tmp_path / f"{name}.csv").write_text("id,text,label\n" + "".join(rows))
    train = read(tmp_path, record_id="id").train
    assert sorted(train.table["text"].to_pylist()) == sorted(f"{cell}{i}" for i in range(25))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEADER + ROWS[0] + "a2,7,1,Oslo\n", ["data row 2 ", "4 cells", "7"]),
        (HEADER + ROWS[0] + "\n\n" + ROWS[1].strip() + ",more\n", ["data row 2 ", "8 cells"]),
        (HEADER + ROWS[0] + ROWS[1] + ROWS[0], ["data rows 1 and 3", "record id"]),
        (HEADER + ROWS[0].replace("a1", ""), ["data row 1 ", "empty record id"]),
        (HEADER + ROWS[0].replace("007", " "), ["data row 1 ", "empty subject id"]),
        (HEADER + ROWS[0] + ROWS[1].replace("yes", ""), ["data row 2 ", "empty label"]),
        (HEADER + ROWS[0] + ROWS[1].replace("40.5", ""), ["data row 2 ", "missing", "'age'"]),
        (HEADER + ROWS[0] + ROWS[1].replace("40.5", "NaN"), ["data row 2 ", "missing", "'age'"]),
        (HEADER + ROWS[0] + ROWS[1].replace("40.5", "inf"), ["data row 2 ", "infinite", "'age'"]),
        (HEADER + ROWS[0] + ROWS[1].replace("40.5", "1e39"), ["data row 2 ", "infinite", "'age'"]),
        (HEADER + ROWS[0] + ROWS[1].replace("40.5", "?"), ["data row 2 ", "'age' of numbers"]),
        (HEADER + ROWS[0] + ROWS[1].replace("Bern", ""), ["data row 2 ", "missing", "'town'"]),
        (HEADER + ROWS[0] + ROWS[1].replace("Bern", "nan"), ["data row 2 ", "missing", "'town'"]),
        (HEADER + ROWS[0] + ROWS[2].replace(",0\n", ",often\n"), ["data row 2 ", "'risk'"]),
        (HEADER + ROWS[0] + ROWS[2].replace(",0\n", ",1.5\n"), ["data row 2 ", "prior"]),
        (HEADER + ROWS[0].replace("Oslo", '"Oslo'), ["quotation mark"]),
        (HEADER, ["no records"]),
        ("", ["is empty"]),
        ("\n\n", ["is empty"]),
        (HEADER.replace("label", "class") + ROWS[0], ["no column 'label'", "set data.label"]),
        (HEADER.replace("id,", "key,") + ROWS[0], ["no column 'id'", "set data.record_id"]),
        (HEADER.replace("person", "who") + ROWS[0], ["no column 'person'", "set data.subject_id"]),
        (HEADER.replace("town", "age") + ROWS[0], ["two columns named 'age'"]),
        (HEADER.replace("town", " age ") + ROWS[0], ["two columns named 'age'"]),
        (HEADER.replace("town", "digest") + ROWS[0], ["'digest'", "reserved"]),
        ((HEADER + ROWS[0]).replace(",", ";"), ["no column 'label'", "id;person"]),
    ],
)
def test_unusable_text_is_refused(folder, refused, text, words):
    (folder / "train.csv").write_text(text)
    with refused(folder / "train.csv", *words):
        read(folder, **ROLES)


def test_messages_about_rows_say_what_counts(folder, refused):
    (folder / "train.csv").write_text(HEADER + ROWS[0] + ROWS[0])
    with refused("(header not counted)"):
        read(folder, **ROLES)


@pytest.mark.parametrize("place", ["header", "row"])
def test_other_encoding_is_refused(folder, refused, place):
    text = HEADER.replace("town", "tøwn") if place == "header" else HEADER
    text += ROWS[0] + ROWS[1].replace("Bern", "Bodø")
    (folder / "train.csv").write_bytes(text.encode("latin-1"))
    with refused(folder / "train.csv", "UTF-8", "" if place == "header" else "data row 2"):
        read(folder, **ROLES)


def test_file_without_features_is_refused(tmp_path, refused):
    (tmp_path / "a.csv").write_text("id,label\n1,a\n2,b\n")
    with refused("a.csv", "no feature columns"):
        read(tmp_path / "a.csv", record_id="id")


@pytest.mark.parametrize("name", ["nothing", "label", "id"])
def test_category_must_be_a_feature(folder, refused, name):
    with refused("train.csv", f"no feature column '{name}'", "data.categorical"):
        read(folder, categorical=(name,), **ROLES)


def test_undeclared_role_with_a_reserved_name_is_refused(tmp_path, refused):
    (tmp_path / "a.csv").write_text("record_id,x,label\n1,2,a\n")
    with refused("'record_id'", "name its role"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("b2,21", "a3,21", ["test.csv", "data row 2 ", "record id that is also in", "train.csv"]),
        ("b2,21", "b2,007", ["test.csv", "data row 2 ", "subject that is also in", "train.csv"]),
        ("town", "city", ["test.csv", "train.csv", "column 'city'"]),
        ("Oslo,true", "5,true", ["test.csv", "data row 2 ", "'town' of numbers"]),
    ],
)
def test_sides_that_do_not_fit_are_refused(folder, refused, old, new, words):
    (folder / "test.csv").write_text(TEST.replace(old, new))
    with refused(*words):
        read(folder, **ROLES)


def test_column_of_two_kinds_is_refused(folder, refused):
    (folder / "test.csv").write_text(TEST.replace("Oslo", "5").replace("Paris", "6"))
    with refused("test.csv", "train.csv", "column 'town'", "another kind"):
        read(folder, **ROLES)
    assert len(read(folder, categorical=("town",), **ROLES).test) == 2


def test_column_order_of_the_test_set_does_not_count(folder):
    expected = read(folder, **ROLES).test.table
    rows = list(csv.reader(io.StringIO(TEST)))
    (folder / "test.csv").write_text("\n".join(",".join(reversed(row)) for row in rows))
    assert read(folder, **ROLES).test.table == expected


def test_label_outside_the_classes_is_refused(folder, refused):
    with refused("train.csv", "data row 2 ", "outside the 2 classes", "2 rows in all"):
        read(folder, classes=("no", "maybe"), **ROLES)
    assert read(folder, classes=("yes", "no"), **ROLES).train.labels.tolist() == [1, 0, 1, 0]


def test_messages_quote_no_cells(folder):
    (folder / "train.csv").write_text(HEADER + ROWS[0] + "secret,7,secret,Oslo\n")
    with pytest.raises(InputError) as caught:
        read(folder, **ROLES)
    assert "secret" not in str(caught.value)
