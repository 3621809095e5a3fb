"""The small workspaces of the unlearning room: pools are made of what it makes."""

from tests.unlearning.conftest import (  # noqa: F401
    built_folder,
    copy_folder,
    count_samples,
    digits,
    folder,
    lab,
    make_folder,
    make_records,
    make_settings,
    mask_of,
    records,
)
