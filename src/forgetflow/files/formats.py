"""Plain files: JSON and CSV with one form for one value."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, str | int | float | None]
"""One line of a CSV table."""


def json_bytes(value: Any) -> bytes:
    """Return indented JSON with sorted keys; NaN and infinity are refused (ValueError)."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def csv_bytes(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows as CSV with the columns of the first; None is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def read_csv(path: Path, texts: frozenset[str]) -> list[Row]:
    """Read rows back: columns in `texts` as they are, all others as numbers or None."""
    with path.open(newline="") as file:
        return [
            {
                name: value if name in texts else float(value) if value else None
                for name, value in row.items()
            }
            for row in csv.DictReader(file)
        ]
