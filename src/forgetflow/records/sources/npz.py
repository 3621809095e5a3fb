"""NumPy archives (.npz): arrays by name, never pickled objects.

    x_train, y_train            and, optional:  x_test, y_test
    record_id_train, ...        ids, text or whole numbers
    subject_train, ...          the person each record is about
    deletion_prior_train, ...   probability (0 to 1) of a deletion request, NaN: unknown

Without a test set of its own the arrays may also be called plainly x, y, record_id, subject and
deletion_prior; whole subjects are then held out.
"""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forgetflow.config.data import DataSettings
from forgetflow.errors import InputError
from forgetflow.records.sources.files import source_path
from forgetflow.records.sources.imported import Imported
from forgetflow.records.sources.raw import RawRecords, as_tensor, as_texts, to_imported

Arrays = dict[str, NDArray[Any]]


def read(settings: DataSettings) -> Imported:
    """Read features (N, F), (N, H, W) or (N, C, H, W), uint8 or numbers kept as float32.

    Raises:
        InputError: the file is no npz archive, is damaged, lacks an array, or an array has a
            shape or type that cannot be used.
    """
    path = source_path(settings)
    arrays = _load(path)
    if "x" in arrays and "x_train" in arrays:
        raise InputError(f"{path} has both x and x_train: leave one of them")
    if "x" in arrays:
        return to_imported(settings, _side(arrays, path, "", "npz"))
    train = _side(arrays, path, "_train", "npz-train")
    test = None
    if "x_test" in arrays or "y_test" in arrays:
        test = _side(arrays, path, "_test", "npz-test")
    return to_imported(settings, train, test)


def _load(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error):
        # TypeError: np.load of a plain .npy file gives an array, which is no context manager.
        raise InputError(
            f"{path} is no npz archive of plain arrays, or is damaged: "
            "write it again with numpy.savez"
        ) from None


def _side(arrays: Arrays, path: Path, suffix: str, prefix: str) -> RawRecords:
    def column(name: str) -> Any:
        array = arrays.get(name + suffix)
        if array is None:
            return None
        if array.ndim != 1:
            raise InputError(
                f"{path}: {name}{suffix} has shape {array.shape}: it must be one value per record"
            )
        return array

    def texts(name: str) -> list[str] | None:
        array = column(name)
        if array is None:
            return None
        return as_texts(array, str(path), name + suffix)

    features, labels = arrays.get(f"x{suffix}"), texts("y")
    if features is None or labels is None:
        missing = f"x{suffix}" if features is None else f"y{suffix}"
        raise InputError(
            f"{path} has no array '{missing}' (it has: {', '.join(sorted(arrays)) or 'none'}): "
            "name the arrays x_train, y_train, or x, y"
        )
    prior = column("deletion_prior")
    if prior is not None and prior.dtype.kind not in "buif":
        raise InputError(f"{path}: deletion_prior{suffix} holds {prior.dtype}: it must be numbers")
    return RawRecords(
        where=f"{path} (x{suffix})",
        prefix=prefix,
        labels=labels,
        features=as_tensor(features, f"{path} (x{suffix})"),
        record_ids=texts("record_id"),
        subject_ids=texts("subject"),
        priors=None if prior is None else prior.astype(np.float64),
    )
