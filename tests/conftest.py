"""Fixtures shared by all rooms."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder with the real data sets; tests that need it are marked `data`."""
    folder = os.environ.get("FORGETFLOW_DATA")
    if not folder:
        pytest.skip("needs real files: set FORGETFLOW_DATA to the folder that holds them")
    return Path(folder)
