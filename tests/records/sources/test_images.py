import sys

import numpy as np
import pytest

from forgetflow.config.data import DataSettings
from forgetflow.records.sources.registry import import_records

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (40, 4, 5), np.uint8)
COLOUR = RNG.integers(0, 256, (40, 4, 5, 3), np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def read(path, **settings):
    return import_records(DataSettings(source="images", path=str(path), **settings))


@pytest.fixture
def split(tmp_path):
    """train/ and test/ with the classes cat and dog, in colour."""
    for side, first in (("train", 0), ("test", 20)):
        for i in range(4):
            save(tmp_path / side / ("cat", "dog")[i % 2] / f"{i}.png", COLOUR[first + i])
    return tmp_path


def test_round_trip_with_a_test_set(split):
    imported = read(split)
    train = imported.train
    assert train.record_ids == [
        "train/cat/0.png", "train/cat/2.png", "train/dog/1.png", "train/dog/3.png",
    ]  # fmt: skip
    assert imported.test.record_ids[0] == "test/cat/0.png"
    assert train.subject_ids == train.record_ids
    assert train.schema.class_names == ("cat", "dog")
    assert train.labels.tolist() == [0, 0, 1, 1]
    assert train.schema == imported.test.schema
    assert train.schema.features.shape == (3, 4, 5)
    assert train.schema.features.dtype == "uint8"
    np.testing.assert_array_equal(
        np.rint(train.inputs * 255), COLOUR[[0, 2, 1, 3]].transpose(0, 3, 1, 2)
    )


def test_folder_without_a_test_set_is_split(tmp_path):
    for i in range(40):
        save(tmp_path / "abc"[i % 3] / f"{i:02d}.png", GREY[i])
    imported = read(tmp_path, test_fraction=0.4)
    assert imported.train.schema.features.shape == (1, 4, 5)
    assert sorted(imported.train.record_ids + imported.test.record_ids) == sorted(
        f"{'abc'[i % 3]}/{i:02d}.png" for i in range(40)
    )
    rows = [int(one[2:4]) for one in imported.test.record_ids]
    np.testing.assert_array_equal(np.rint(imported.test.inputs[:, 0] * 255), GREY[rows])


def test_records_do_not_depend_on_where_the_folder_lies(split, tmp_path_factory):
    digest = read(split).train.digest
    other = tmp_path_factory.mktemp("other") / "place"
    split.rename(other)
    assert read(other).train.digest == digest


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".tiff", ".PNG", ".webp"])
def test_other_formats(split, suffix):
    path = split / "train" / "cat" / "0.png"
    options = {"lossless": True} if suffix == ".webp" else {}
    Image.fromarray(COLOUR[0]).save(path.with_suffix(suffix), **options)
    path.unlink()
    train = read(split).train
    assert train.record_ids[0] == f"train/cat/0{suffix}"
    np.testing.assert_array_equal(np.rint(train.inputs[0] * 255), COLOUR[0].transpose(2, 0, 1))


def test_grey_among_colour_is_repeated_and_transparency_dropped(split):
    save(split / "train" / "dog" / "grey.png", GREY[0])
    alpha = np.concatenate([COLOUR[5], GREY[1][..., None]], axis=-1)
    save(split / "train" / "dog" / "alpha.png", alpha)
    train = read(split).train
    found = dict(zip(train.record_ids, np.rint(train.inputs * 255), strict=True))
    np.testing.assert_array_equal(found["train/dog/grey.png"], np.stack([GREY[0]] * 3))
    np.testing.assert_array_equal(found["train/dog/alpha.png"], COLOUR[5].transpose(2, 0, 1))


def test_hidden_files_are_ignored(split):
    digest = read(split).train.digest
    (split / ".DS_Store").touch()
    (split / "train" / ".cache").mkdir()
    (split / "train" / "cat" / ".DS_Store").touch()
    (split / "README.txt").touch()
    assert read(split).train.digest == digest


def test_class_may_be_called_train(tmp_path):
    for i in range(20):
        save(tmp_path / ("train", "plane")[i % 2] / f"{i}.png", GREY[i])
    assert read(tmp_path, test_fraction=0.5).train.schema.class_names == ("plane", "train")


def test_digest_sees_one_pixel_a_name_and_a_class(split):
    before = read(split).train.digest
    changed = COLOUR[0].copy()
    changed[2, 2, 2] ^= 1
    save(split / "train" / "cat" / "0.png", changed)
    assert read(split).train.digest != before
    save(split / "train" / "cat" / "0.png", COLOUR[0])
    assert read(split).train.digest == before
    (split / "train" / "cat" / "0.png").rename(split / "train" / "cat" / "9.png")
    assert read(split).train.digest != before
    (split / "train" / "cat" / "9.png").rename(split / "train" / "dog" / "0.png")
    assert read(split).train.digest != before


def test_label_outside_the_classes_is_refused(split, refused):
    save(split / "test" / "bird" / "0.png", COLOUR[0])
    with refused(split / "test", "data row 1 ", "outside the 2 classes"):
        read(split, classes=("cat", "dog"))


def test_other_size_names_the_file(split, refused):
    path = split / "train" / "dog" / "3.png"
    save(path, COLOUR[0][:3])
    with refused(path, "5 x 3", split / "train" / "cat" / "0.png", "5 x 4"):
        read(split)


def test_other_size_in_the_test_set_is_refused(split, refused):
    for path in (split / "test").glob("*/*.png"):
        save(path, COLOUR[0][:, :4])
    with refused(split / "test", "(3, 4, 5)", "(3, 4, 4)"):
        read(split)


def test_colour_among_grey_names_the_file(tmp_path, refused):
    save(tmp_path / "a" / "0.png", GREY[0])
    save(tmp_path / "a" / "1.png", COLOUR[0])
    with refused(tmp_path / "a" / "1.png", "colour", tmp_path / "a" / "0.png"):
        read(tmp_path)


def test_sixteen_bits_are_refused(tmp_path, refused):
    save(tmp_path / "a" / "0.png", GREY[0].astype(np.uint16) * 257)
    with refused(tmp_path / "a" / "0.png", "8 bits"):
        read(tmp_path)


@pytest.mark.parametrize("damage", [lambda d: b"", lambda d: b"text", lambda d: d[:-30]])
def test_damaged_picture_names_the_file(split, refused, damage):
    path = split / "test" / "dog" / "1.png"
    path.write_bytes(damage(path.read_bytes()))
    with refused(path, "no readable picture"):
        read(split)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("train/stray.png", ["is in no class folder"]),
        ("train/cat/notes.txt", ["is no picture"]),
        ("train/cat/deep/0.png", ["is no picture", "CLASS/FILE"]),
        ("valid/cat/0.png", ["lies beside train or test"]),
    ],
)
def test_stray_files_are_named(split, refused, name, words):
    save(split / name.replace(".txt", ".png"), COLOUR[0])
    if name.endswith(".txt"):
        (split / name.replace(".txt", ".png")).rename(split / name)
    culprit = split / (
        "valid"
        if name.startswith("valid")
        else name.removesuffix("/0.png")
        if "deep" in name
        else name
    )
    with refused(culprit, *words):
        read(split)


def test_test_without_train_is_refused(split, refused):
    (split / "train").rename(split / ".train")
    with refused(split, "no folder train"):
        read(split)


def test_folder_of_empty_classes_is_refused(tmp_path, refused):
    (tmp_path / "cat").mkdir()
    with refused(tmp_path, "no pictures"):
        read(tmp_path)


def test_missing_pillow_says_what_to_install(split, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with refused("needs Pillow"):
        read(split)
