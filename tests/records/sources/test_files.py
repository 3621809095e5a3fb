import pytest

from forgetflow.config.data import DataSettings
from forgetflow.records.sources.files import train_and_test_files
from forgetflow.records.sources.registry import SOURCES, import_records

WITH_FILES = sorted(set(SOURCES) - {"digits"})


def test_every_source_of_the_settings_is_there():
    allowed = DataSettings.model_fields["source"].annotation.__args__
    assert set(SOURCES) == set(allowed)


@pytest.mark.parametrize("source", WITH_FILES)
def test_path_must_be_given(refused, source):
    with refused(f"'{source}' needs a path", "data.path"):
        import_records(DataSettings(source=source))


@pytest.mark.parametrize("source", WITH_FILES)
def test_path_must_exist(tmp_path, refused, source):
    with refused(tmp_path / "nowhere", "does not exist"):
        import_records(DataSettings(source=source, path=str(tmp_path / "nowhere")))


@pytest.mark.parametrize("source", WITH_FILES)
def test_empty_folder_is_refused(tmp_path, refused, source):
    with refused(tmp_path):
        import_records(DataSettings(source=source, path=str(tmp_path)))


@pytest.mark.parametrize("source", WITH_FILES)
def test_empty_file_is_refused(tmp_path, refused, source):
    path = tmp_path / "data"
    path.touch()
    with refused(path):
        import_records(DataSettings(source=source, path=str(path)))


def test_unknown_source_lists_the_known(refused):
    with refused("'paper'", "digits, idx"):
        import_records(DataSettings.model_construct(source="paper"))


def test_train_and_test_files(tmp_path, refused):
    (tmp_path / "train.csv").touch()
    assert train_and_test_files(tmp_path) == (tmp_path / "train.csv", None)
    (tmp_path / "test.csv.gz").touch()
    assert train_and_test_files(tmp_path) == (tmp_path / "train.csv", tmp_path / "test.csv.gz")
    assert train_and_test_files(tmp_path / "train.csv") == (tmp_path / "train.csv", None)
    (tmp_path / "test.csv").touch()
    with refused(tmp_path, "several test files", "test.csv, test.csv.gz"):
        train_and_test_files(tmp_path)
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).unlink()
    with refused(tmp_path, "no file train.*"):
        train_and_test_files(tmp_path)
