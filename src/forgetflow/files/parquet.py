"""Reading Parquet without Arrow's thread pools.

A process that ends while a pool is still starting a thread is aborted by the C++ runtime
("terminate called without an active exception"): a finished command would fail at random. Our
files are small, and nothing is lost by reading them on the calling thread.
"""

from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq


def read_parquet(source: Path | IO[bytes]) -> pa.Table:
    """Return a whole Parquet file as a table; raises what pyarrow raises."""
    with pq.ParquetFile(source, pre_buffer=False) as file:
        return file.read(use_threads=False)
