"""The small workspaces of the unlearning room: keys are asked of what it makes."""

from tests.unlearning.conftest import (  # noqa: F401
    lab,
    make_records,
    make_settings,
    records,
)
