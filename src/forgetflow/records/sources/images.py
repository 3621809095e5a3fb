"""A folder of pictures, one subfolder per class: `cat/001.png`, or `train/cat/001.png`.

Pixels are what the installed Pillow decodes; the import keeps them, so later runs do not depend
on it. Record ids are the paths below the folder, and every picture is its own subject.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forgetflow.config.data import DataSettings
from forgetflow.errors import InputError
from forgetflow.records.sources.files import source_path
from forgetflow.records.sources.imported import Imported
from forgetflow.records.sources.raw import RawRecords, to_imported

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
GREY, COLOUR = ("1", "L", "LA"), ("P", "RGB", "RGBA", "CMYK", "YCbCr")


def read(settings: DataSettings) -> Imported:
    """Read pictures of one size as uint8 (1, H, W) or (3, H, W).

    The first file decides between grey and colour; grey files among colour ones are repeated
    over the channels. Transparency is dropped. Hidden files are ignored.

    Raises:
        InputError: Pillow is missing, there are no pictures, a file is no readable picture, lies
            elsewhere than in a class folder, or differs in size or colour from the first.
    """
    root = source_path(settings)
    folders = _subfolders(root)
    parts = [one for one in folders if one.name in ("train", "test")]
    # A class may be called "train": then its folder holds pictures, not folders.
    if not any(_subfolders(one) for one in parts):
        return to_imported(settings, _side(root, root, "images"))
    for one in folders:
        if one not in parts:
            raise InputError(f"{one} lies beside train or test: move it elsewhere")
    sides = {one.name: one for one in parts}
    if "train" not in sides:
        raise InputError(f"{root} has a folder test but no folder train: add it")
    train = _side(sides["train"], root, "images-train")
    test = _side(sides["test"], root, "images-test") if "test" in sides else None
    return to_imported(settings, train, test)


def _side(folder: Path, root: Path, prefix: str) -> RawRecords:
    files = _pictures(folder)
    if not files:
        raise InputError(f"{folder} holds no pictures in class folders: check data.path")
    return RawRecords(
        where=str(folder),
        prefix=prefix,
        labels=[file.parent.name for file in files],
        features=_decode(files),
        record_ids=[file.relative_to(root).as_posix() for file in files],
    )


def _subfolders(folder: Path) -> list[Path]:
    return [one for one in _visible(folder) if one.is_dir()]


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(one for one in folder.iterdir() if not one.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder} is no readable folder ({error.strerror})") from None


def _pictures(folder: Path) -> list[Path]:
    for file in _visible(folder):
        if file.suffix.lower() in SUFFIXES and file.is_file():
            raise InputError(f"{file} is in no class folder: move it into one")
    files = [file for one in _subfolders(folder) for file in _visible(one)]
    for file in files:
        if file.suffix.lower() not in SUFFIXES or not file.is_file():
            raise InputError(
                f"{file} is no picture ({', '.join(SUFFIXES)}): expected CLASS/FILE, move it away"
            )
    return files


def _decode(files: list[Path]) -> NDArray[np.uint8]:
    """Return all pictures as one array, uint8 (N, C, H, W)."""
    first, grey = _open(files[0])
    out = np.empty((len(files), 1 if grey else 3, first.height, first.width), np.uint8)
    for i, file in enumerate(files):
        image, is_grey = _open(file)
        if image.size != first.size:
            raise InputError(
                f"{file} is {image.width} x {image.height} pixels where {files[0]} is "
                f"{first.width} x {first.height}: bring all pictures to one size"
            )
        if grey and not is_grey:
            raise InputError(f"{file} is in colour where {files[0]} is grey: make all the same")
        pixels = np.asarray(image.convert("L" if grey else "RGB"))
        out[i] = pixels if grey else pixels.transpose(2, 0, 1)
    return out


def _open(path: Path) -> tuple[Any, bool]:
    """Return the decoded picture and whether it is grey."""
    try:
        from PIL import Image
    except ImportError:
        raise InputError("the images source needs Pillow: pip install pillow") from None
    try:
        with Image.open(path) as image:
            image.load()
            mode = image.mode
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise InputError(f"{path} is no readable picture: save it again or remove it") from None
    if mode not in GREY + COLOUR:
        raise InputError(f"{path} has pixels of mode {mode}: save it with 8 bits per channel")
    return image, mode in GREY
