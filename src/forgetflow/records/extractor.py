"""A frozen extractor: a network trained on public records that turns every input into features.

    extractor.json       what the network is, and the layer whose input is the feature vector
    model.safetensors    its weights and buffers
    members              optional: digests of the records it learned from, 32 bytes each

It is applied once, at ingest, and the features become the inputs of the record set. Heads trained
on them are then all that learns from the records, so deletion stays what it is: the extractor
never saw anybody who may ask to be forgotten.

The features of a record are a function of the record and the extractor alone. Each record goes
through the network by itself, from the same buffer, on one thread of a CPU: in a batch, the shape
of the batch and a row's place in it choose the kernels, and with them the last bits. The pass is in
double precision and its result is rounded to 12 significant bits: machines whose last bits differ
import the same bytes, but for about one value in 10^11 that lies on a rounding edge.

Notation: N records, F features.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forgetflow.config.data import DataSettings
from forgetflow.config.model import ModelSettings
from forgetflow.config.project import Project
from forgetflow.errors import InputError, VerdictError
from forgetflow.keys.digests import Digests, bytes_digest, set_digest
from forgetflow.models.build import build
from forgetflow.records.extractor_card import MEMBERS, WEIGHTS, ExtractorCard, read_extractor_card
from forgetflow.records.record_set import RecordSet, build_record_set
from forgetflow.records.schema import ExtractedFeatures, Features, RecordSchema, TensorFeatures

SIGNIFICANT_BITS = 12
SMALLEST_STEP = -30
"""Features are multiples of 2^-30 at least: what is smaller is the rounding error of a sum."""


@dataclass(frozen=True, eq=False)
class Extractor:
    """A frozen network that can turn inputs into features.

    Attributes:
        card: what it is.
        network: in evaluation mode and double precision, on the CPU.
        members: digests of the records it learned from, uint8 (M, 32); M = 0 where not known.
    """

    card: ExtractorCard
    network: nn.Module
    members: Digests

    @classmethod
    def load(cls, folder: Path) -> "Extractor":
        """Read an extractor and check its files against its card.

        Raises:
            InputError: there is no extractor in `folder`, or its card is none of this version.
            VerdictError: a file is missing or has other bytes than the card says.
        """
        card = read_extractor_card(folder)
        data = _bytes(folder / WEIGHTS)
        members = np.frombuffer(b"", np.uint8).reshape(-1, 32)
        intact = bytes_digest(data) == card.weights
        if intact and card.learned_from is not None:
            raw = _bytes(folder / MEMBERS)
            members = np.frombuffer(raw[: len(raw) // 32 * 32], np.uint8).reshape(-1, 32)
            intact = len(raw) % 32 == 0 and set_digest(members) == card.learned_from
        if not intact:
            raise VerdictError(f"{folder} has missing or altered files: export the extractor again")
        return cls(card, frozen_network(card, safetensors.torch.load(data), str(folder)), members)

    @property
    def width(self) -> int:
        """Number of features F."""
        return int(_linear(self.network, self.card.layer).in_features)

    def describe(self, raw: Features, where: str) -> ExtractedFeatures:
        """Return what records of features `raw` look like once they are extracted.

        Args:
            raw: features before.
            where: what to call the records in messages.

        Raises:
            InputError: the extractor does not take such records.
        """
        taken = self.card.inputs
        fits = raw == taken
        if isinstance(raw, TensorFeatures) and isinstance(taken, TensorFeatures):
            fits = raw.shape == taken.shape  # bytes and floats become the same inputs
        if isinstance(raw, ExtractedFeatures) or not fits:
            raise InputError(
                f"{where} has {_words(raw)}, but the extractor takes {_words(taken)}: "
                "set data.extractor to one that was trained on such records"
            )
        return ExtractedFeatures((self.width,), "float32", self.card.digest, raw)

    def features(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the features of every input, float32 (N, F), for inputs (N, *input_shape)."""
        out = np.empty((len(inputs), self.width), np.float64)
        buffer = torch.empty((1, *self.card.input_shape), dtype=torch.float64)
        with _one_thread(), torch.inference_mode(), _input_of(self.network, self.card.layer) as box:
            for row, one in enumerate(inputs):
                buffer[0] = torch.from_numpy(np.ascontiguousarray(one))
                self.network(buffer)
                out[row] = box.pop().numpy()[0]
        return rounded(out)

    def extracted(self, records: RecordSet, where: str) -> RecordSet:
        """Return the same records with features as inputs; ids, subjects, labels, priors stay.

        Args:
            records: as the source gave them.
            where: what to call them in messages.

        Raises:
            InputError: the extractor does not take such records, has learned from one of them,
                or makes NaN or infinite features of one.
        """
        schema = RecordSchema(
            records.schema.class_names, self.describe(records.schema.features, where)
        )
        known = {row.tobytes() for row in self.members}
        seen = sum(row.tobytes() in known for row in records.digests)
        if seen:
            raise InputError(
                f"{where}: the extractor has learned from {seen} of these records, so no deletion "
                "could undo what it knows of them: use one trained on other, public records"
            )
        features = self.features(records.inputs)
        bad = int((~np.isfinite(features)).any(axis=1).sum())
        if bad:
            raise InputError(
                f"{where}: the extractor makes NaN or infinite features of {bad} record(s): "
                "check that their values have the scale it was trained on"
            )
        return build_record_set(
            schema,
            record_ids=records.record_ids,
            subject_ids=records.subject_ids,
            labels=records.labels,
            features=features,
            priors=records.table["deletion_prior"].to_pylist(),
            where=where,
        )


def rounded(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the values to 12 significant bits, in steps of 2^-30 at least, zero without a sign."""
    step = np.maximum(np.frexp(values)[1] - SIGNIFICANT_BITS, SMALLEST_STEP)
    with np.errstate(over="ignore"):  # infinities are refused where records are made of them
        return (np.ldexp(np.rint(np.ldexp(values, -step)), step) + 0.0).astype(np.float32)


def project_extractor(project: Project, settings: DataSettings | None = None) -> Extractor:
    """Return the extractor that `params.yaml` (or `settings`) names.

    Raises:
        InputError: none is named, or the folder holds another one than `data.extractor_digest`.
        VerdictError: its files were altered.
    """
    named = settings or project.settings.data
    if not named.extractor:
        raise InputError("data.extractor in params.yaml names no extractor")
    folder = project.root / Path(named.extractor).expanduser()
    extractor = Extractor.load(folder)
    if extractor.card.digest != named.extractor_digest:
        raise InputError(
            f"{folder} holds another extractor than data.extractor_digest in params.yaml: put the "
            "former one back, or take this one with `forgetflow data import SOURCE --extractor "
            f"{named.extractor}`, which changes every record"
        )
    return extractor


def frozen_network(card: ExtractorCard, weights: Mapping[str, Tensor], where: str) -> nn.Module:
    """Return the network of a card, in evaluation mode and double precision.

    Args:
        card: which network, and which layer must be there.
        weights: its state, by name.
        where: what to call the extractor in messages.

    Raises:
        InputError: model, inputs, weights and layer do not fit together.
    """
    misfit = InputError(
        f"{where}: model, inputs, weights and layer of this extractor do not fit together: "
        "export it again"
    )
    try:
        settings = ModelSettings.model_validate(card.architecture)
    except ValueError:
        raise misfit from None
    if settings.family != "network":
        raise misfit
    try:
        network = build(settings, card.input_shape, card.classes, seed=0)
        network.load_state_dict(weights)
        _linear(network, card.layer)
    except (InputError, ValueError, TypeError, AttributeError, RuntimeError):
        raise misfit from None
    return network.double().eval().requires_grad_(requires_grad=False)


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _linear(network: nn.Module, name: str) -> nn.Linear:
    layer = network.get_submodule(name)
    if not isinstance(layer, nn.Linear):
        raise TypeError(f"{name} is no linear layer")
    return layer


@contextmanager
def _input_of(network: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """Yield a list that gets the input of `layer` in every pass."""
    box: list[Tensor] = []
    hook = _linear(network, layer).register_forward_pre_hook(lambda _, given: box.append(given[0]))
    try:
        yield box
    finally:
        hook.remove()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: bits depend on the count."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _words(features: Features) -> str:
    if isinstance(features, ExtractedFeatures):
        return "features of another extractor"
    if isinstance(features, TensorFeatures):
        return f"inputs of shape {features.shape}"
    names = ", ".join([*features.numeric, *features.categorical])
    return f"the columns {names} with {features.hash_buckets} hash buckets"
