"""Parquet files: plain columns, or one dense column (fixed_shape_tensor or equally long lists)."""

from pathlib import Path

import pyarrow as pa

from forgetflow.config.data import DataSettings
from forgetflow.errors import InputError
from forgetflow.files.parquet import read_parquet
from forgetflow.records.sources.files import source_path, train_and_test_files
from forgetflow.records.sources.imported import Imported
from forgetflow.records.sources.raw import RawRecords, to_imported
from forgetflow.records.sources.tabular import from_table


def read(settings: DataSettings) -> Imported:
    """Read one Parquet file, or a folder with `train.*` and maybe `test.*`.

    Raises:
        InputError: a file is missing, is no readable Parquet, or `from_table` refuses it.
    """
    train, test = train_and_test_files(source_path(settings))
    if test is None:
        return to_imported(settings, _side(train, settings, "parquet"))
    return to_imported(
        settings, _side(train, settings, "parquet-train"), _side(test, settings, "parquet-test")
    )


def _side(path: Path, settings: DataSettings, prefix: str) -> RawRecords:
    try:
        table = read_parquet(path)
    except (pa.ArrowException, OSError):
        raise InputError(
            f"{path} cannot be read as Parquet: write it again, or check data.path"
        ) from None
    return from_table(table, settings, str(path), prefix)
