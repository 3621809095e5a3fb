"""CSV files with a header line: comma-separated, UTF-8, plain, .gz or .xz.

Spaces around a cell do not count. A column of numbers is numeric, a column without any number is
categorical, and a mixture must be declared in `data.categorical`. Rows in messages are data
rows: the header and blank lines are not counted.
"""

import csv
import io
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from forgetflow.config.data import DataSettings
from forgetflow.errors import InputError
from forgetflow.records.record_set import refuse_rows
from forgetflow.records.sources.files import read_bytes, source_path, train_and_test_files
from forgetflow.records.sources.imported import Imported
from forgetflow.records.sources.raw import RawRecords, to_imported
from forgetflow.records.sources.tabular import feature_columns, from_table, refuse_missing

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


def read(settings: DataSettings) -> Imported:
    """Read one CSV file, or a folder with `train.*` and maybe `test.*`.

    Raises:
        InputError: a file is missing, is no UTF-8, has a ragged row, an open quote, two columns
            of one name or a column mixing numbers and text, or `from_table` refuses it.
    """
    train, test = train_and_test_files(source_path(settings))
    if test is None:
        return to_imported(settings, _side(train, settings, "csv"))
    return to_imported(
        settings, _side(train, settings, "csv-train"), _side(test, settings, "csv-test")
    )


def _side(path: Path, settings: DataSettings, prefix: str) -> RawRecords:
    where = f"{path} (header not counted)"
    table = _read_texts(path)
    features = feature_columns(table.column_names, settings, str(path))
    typed = {}
    for name in table.column_names:
        column = pc.utf8_trim_whitespace(table[name])
        if name in features and name not in settings.categorical:
            refuse_missing(column, where, name)
            column = _number_or_category(column, where, name)
        elif name == settings.deletion_prior:
            column = _numbers(pc.if_else(pc.equal(column, ""), None, column), where, name)
        typed[name] = column
    return from_table(pa.table(typed), settings, where, prefix)


def _read_texts(path: Path) -> Any:
    """Return the file as an Arrow table of text columns."""
    data = read_bytes(path)
    names = _header(path, data)
    ragged: list[Any] = []

    def note(row: Any) -> str:
        ragged.append(row)
        return "error"

    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(data),
            # One thread: otherwise rows have no numbers in messages.
            read_options=pyarrow.csv.ReadOptions(use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                newlines_in_values=True, invalid_row_handler=note
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string())
            ),
        )
    except pa.ArrowInvalid as error:
        # Arrow counts the header as row 1, and its own text quotes cells: personal data.
        if ragged:
            raise InputError(
                f"{path} (header not counted): data row {ragged[0].number - 1} has "
                f"{ragged[0].actual_columns} cells where the header has "
                f"{ragged[0].expected_columns}: correct the row"
            ) from None
        row = re.search(r"Row #(\d+)", str(error))
        place = f" (data row {int(row[1]) - 1}, header not counted)" if row else ""
        raise InputError(
            f"{path}{place} is not valid CSV in UTF-8: save it again as such"
        ) from None
    return table.rename_columns([name.strip() for name in names])


def _header(path: Path, data: bytes) -> list[str]:
    """Return the column names; pyarrow would keep only one of two columns of the same name."""
    if data.count(b'"') % 2:
        raise InputError(f"{path} has a quotation mark that is never closed: correct the file")
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", errors="replace", newline="")
    try:
        names = next((row for row in csv.reader(text) if row), [])
    except csv.Error:
        names = ["\ufffd"]
    if any("\ufffd" in name for name in names):
        raise InputError(
            f"{path} has a header that is not valid CSV in UTF-8: save it again as such"
        )
    if not names:
        raise InputError(f"{path} is empty: check data.path")
    stripped = [name.strip() for name in names]
    for name in stripped:
        if stripped.count(name) > 1:
            raise InputError(f"{path} has two columns named '{name}': rename one of them")
    return names


def _number_or_category(column: Any, where: str, name: str) -> Any:
    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid:
        is_number = pc.match_substring_regex(column, NUMBER)
    if pc.any(is_number).as_py():
        what = f"text in column '{name}' of numbers (not declared in data.categorical)"
        refuse_rows(where, pc.invert(is_number).to_numpy(), what)
    return column


def _numbers(column: Any, where: str, name: str) -> Any:
    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid:
        is_number = pc.match_substring_regex(column.fill_null("0"), NUMBER)
        refuse_rows(where, pc.invert(is_number).to_numpy(), f"no number in column '{name}'")
        raise
