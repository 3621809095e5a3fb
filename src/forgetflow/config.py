"""`params.yaml` as typed settings: one block per room, unknown keys refused.

Every field says its unit. Fields that cannot change the bytes of a model (devices, worker
counts, how often recovery checkpoints are written) live in `run` or are marked so; all
others of `partition`, `model` and `train` are part of every content key.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from forgetflow.errors import InputError

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
# Strict, because `shards: yes` would otherwise mean one shard. Other numbers stay lenient:
# YAML reads 1e-3 as text.
Positive = Annotated[int, Field(ge=1, strict=True)]


class Block(BaseModel):
    """A block of settings: immutable, and closed to keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSettings(Block):
    """Where records come from and how they are kept."""

    source: Literal["digits", "idx", "cifar10", "npz", "parquet", "csv", "images"] = "digits"
    path: str | None = Field(None, description="Folder or file of the source; none for digits.")
    test_fraction: Fraction = Field(
        0.2, description="Share of subjects held out where the source has no test set of its own."
    )
    parts: Positive = Field(16, description="Number of Parquet files a record set is spread over.")
    label: str = Field("label", description="Label column of csv and parquet sources.")
    record_id: str | None = Field(None, description="Id column; none: made from the position.")
    subject_id: str | None = Field(
        None, description="Column naming the person; none: every record is its own subject."
    )
    deletion_prior: str | None = Field(
        None,
        description="Column with the probability (0 to 1) that a record is asked to be deleted.",
    )
    categorical: tuple[str, ...] = Field((), description="Columns to treat as categories.")
    hash_buckets: Positive = Field(
        16, description="Inputs per categorical column; categories are hashed, never fitted."
    )
    classes: tuple[str, ...] | None = Field(
        None, description="Allowed class names in order; none: taken from the source."
    )
    extractor: str | None = Field(
        None,
        min_length=1,
        description="Folder of a frozen extractor whose features become the records' inputs.",
    )
    extractor_digest: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        description="Digest of that extractor; written by `data import --extractor FOLDER`.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.classes is not None and not 0 < len(set(self.classes)) == len(self.classes):
            raise ValueError("classes must name at least one class, and none twice")
        if (self.extractor is None) != (self.extractor_digest is None):
            raise ValueError(
                "extractor and extractor_digest go together: `forgetflow data import SOURCE "
                "--extractor FOLDER` writes both; without an extractor both are null"
            )
        if self.source not in ("csv", "parquet"):
            for key in ("record_id", "subject_id", "deletion_prior", "categorical"):
                if getattr(self, key):
                    raise ValueError(
                        f"{key} names a column, which only the sources csv and parquet have, "
                        f"not {self.source}"
                    )
        return self


class SelectionSettings(Block):
    """Which records of a class its one-class model learns from (ARCANE)."""

    mode: Literal["none", "threshold", "joint"] = Field(
        "none",
        description="none: all of them; threshold: those whose own information entropy reaches "
        "`threshold`; joint: the `share` that surprises the others of the class most.",
    )
    threshold: Annotated[float, Field(ge=0)] = Field(
        0.0, description="Least entropy of a record's values, nats (threshold)."
    )
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="Proportion of each class that is kept (joint)."
    )
    bins: Annotated[int, Field(ge=2, le=256, strict=True)] = Field(
        16, description="Bins that the values are counted in, between low and high."
    )
    low: float = Field(0.0, description="Lower end of the values' range; smaller ones count here.")
    high: float = Field(1.0, description="Upper end of the values' range; larger ones count here.")
    frozen: bool = Field(
        False,
        description="joint: keep the first choice after deletions. Nothing is chosen again, but "
        "the choice remembers the forgotten: deletions are then approximate, not exact.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, not {self.low} and {self.high}")
        if self.frozen and self.mode != "joint":
            raise ValueError("frozen is for mode joint; the other modes never choose again")
        return self


class PartitionSettings(Block):
    """Who learns what."""

    method: Literal["monolith", "sisa", "arcane"] = Field(
        "sisa",
        description="monolith: one shard of one slice; sisa: S shards of R slices; arcane: a "
        "shard per class, of R slices, for one-class models.",
    )
    shards: Positive = Field(10, description="Number of shards S (constituent models) of sisa.")
    slices: Positive = Field(4, description="Number of slices R per shard.")
    prior_thresholds: tuple[Fraction, ...] = Field(
        (),
        description="Ascending deletion-prior bounds, fixed in advance; records above a bound go "
        "to later slices of their shard. Empty: the prior does not choose the slice.",
    )
    shard_thresholds: tuple[Fraction, ...] = Field(
        (),
        description="Ascending deletion-prior bounds, fixed in advance, that cut subjects into "
        "bands with shards of their own; `forgetflow plan --layout` recommends some. Empty: the "
        "prior does not choose the shard.",
    )
    band_shards: tuple[Positive, ...] = Field(
        (),
        description="Number of shards of each band, lowest prior first; one number more than "
        "shard_thresholds, together S. Empty: one band of S shards.",
    )
    aggregation: Literal["mean", "vote"] = Field(
        "mean",
        description="Mean prediction vector, or label majority vote (ties: lowest class); "
        "one-class models are combined by their scores instead.",
    )
    selection: SelectionSettings = SelectionSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.method != "arcane" and self.selection.mode != "none":
            raise ValueError(
                f"selection chooses records of a class for its model: use method arcane, or "
                f"selection.mode none with {self.method}"
            )
        if self.method == "arcane" and (self.shard_thresholds or self.band_shards):
            raise ValueError(
                "arcane has one shard per class: leave shard_thresholds and band_shards empty"
            )
        for name in ("prior_thresholds", "shard_thresholds"):
            bounds = getattr(self, name)
            if list(bounds) != sorted(set(bounds)):
                raise ValueError(f"{name} must be strictly ascending")
        bounds = self.prior_thresholds
        if self.method != "monolith" and len(bounds) + 1 > self.slices:
            raise ValueError(
                f"{len(bounds)} prior_thresholds make {len(bounds) + 1} bands and need at least "
                f"as many slices, not {self.slices}"
            )
        bands = len(self.shard_thresholds) + 1
        if len(self.band_shards) != bands and (self.shard_thresholds or self.band_shards):
            raise ValueError(
                f"{bands - 1} shard_thresholds make {bands} band(s): band_shards must have "
                f"{bands} number(s), not {len(self.band_shards)}"
            )
        if self.band_shards and sum(self.band_shards) != self.shards:
            raise ValueError(
                f"band_shards make {sum(self.band_shards)} shards: set shards to that, "
                f"not to {self.shards}"
            )
        return self

    @property
    def layout(self) -> tuple[int, int]:
        """(S, R) of monolith and sisa; the monolith is one shard of one slice."""
        return (1, 1) if self.method == "monolith" else (self.shards, self.slices)


class ForestSettings(Block):
    """Size of a forest, and the thresholds its splits are chosen from.

    With the records these determine every byte (`forgetflow.forest`).
    """

    trees: Annotated[int, Field(ge=1, le=100_000, strict=True)] = Field(
        100, description="Number of trees."
    )
    max_depth: Annotated[int, Field(ge=0, le=10_000, strict=True)] = Field(
        20, description="Number of splits above the deepest leaf, at most."
    )
    random_depth: Annotated[int, Field(ge=0, strict=True)] = Field(
        0,
        description="Layers from the root whose splits are drawn without looking at labels: "
        "cheaper deletions, lower accuracy.",
    )
    candidates: Positive = Field(8, description="Thresholds tried per feature and node.")
    features: Positive | None = Field(
        None, description="Features tried per node; null: the root of their number."
    )
    min_leaf: Positive = Field(1, description="Records, at least, on either side of a split.")
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="Fraction of the records that each tree learns from."
    )
    thresholds: Annotated[int, Field(ge=1, le=254, strict=True)] = Field(
        32, description="Thresholds per feature that splits are chosen from."
    )
    low: float = Field(0.0, description="Lower end of every feature's declared range.")
    high: float = Field(1.0, description="Upper end of every feature's declared range.")
    reference: str | None = Field(
        None,
        description="File of public rows (.npy, as many columns as features) whose quantiles "
        "become the thresholds instead; nobody will ask to delete these rows.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, not {self.low} and {self.high}")
        return self


class GaussianSettings(Block):
    """A normal density per class."""

    shrinkage: Fraction = Field(
        0.1,
        description="How far the covariance is drawn to a multiple of the identity, 0 to 1.",
    )
    floor: Annotated[float, Field(gt=0)] = Field(
        1e-3, description="Added to every variance, in squared units of the inputs."
    )


class ModelSettings(Block):
    """What every constituent is."""

    architecture: Literal[
        "mlp",
        "logistic",
        "lenet",
        "allcnn",
        "resnet9",
        "wideresnet",
        "resnet18",
        "forest",
        "autoencoder",
        "gaussian",
    ] = Field(
        "mlp",
        description="mlp and logistic (no hidden layer) take any records; images of at least so "
        "many pixels per side: lenet 8, allcnn 5, resnet9 15, wideresnet 5, resnet18 9. forest: "
        "decision trees. autoencoder, gaussian: one-class models of partition.method arcane.",
    )
    hidden: tuple[Positive, ...] = Field(
        (128,), description="Units per hidden layer (mlp, autoencoder)."
    )
    normalize: Literal["none", "standard"] = Field(
        "none",
        description="standard: subtract mean and divide by deviation, fitted inside each "
        "constituent on its first slice.",
    )
    forest: ForestSettings = ForestSettings()
    gaussian: GaussianSettings = GaussianSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.normalize != "none" and self.family != "network":
            raise ValueError(
                f"normalize is for networks that tell classes apart: use none with "
                f"{self.architecture}"
            )
        return self

    @property
    def family(self) -> Literal["network", "forest", "one-class"]:
        """What kind of constituent the architecture makes."""
        if self.architecture == "forest":
            return "forest"
        return "one-class" if self.architecture in ("autoencoder", "gaussian") else "network"

    def relevant(self) -> dict[str, Any]:
        """Return the settings that mean something to this architecture, JSON-ready."""
        unused = {"forest", "gaussian"} - {self.architecture}
        if self.architecture not in ("mlp", "autoencoder"):
            unused.add("hidden")
        if self.family != "network":
            unused.add("normalize")
        return self.model_dump(mode="json", exclude=unused)


class TrainSettings(Block):
    """How one constituent is trained."""

    epochs: Annotated[float, Field(gt=0)] = Field(
        40.0, description="Passes e' over a shard that a run without slicing would make."
    )
    batch_size: Positive = Field(16, description="Records per optimizer step.")
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.05, description="Step size.")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="SGD momentum.")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="L2 coefficient.")
    engine: Literal["auto", "sequential", "stacked"] = Field(
        "auto",
        description="What computes the steps: sequential (any network), stacked (mlp and "
        "logistic, many at once). Engines differ in the last bits.",
    )
    checkpoint_seconds: Annotated[float, Field(ge=0)] = Field(
        30.0,
        description="Seconds between recovery checkpoints inside a slice (0: every step). "
        "Does not change a model and is not part of its key.",
    )


class AttributionSettings(Block):
    """Train x query scores."""

    method: Literal["auto", "grad_dot", "none"] = Field(
        "auto",
        description="auto: grad_dot where every constituent tells classes apart by gradients, "
        "none for forests and one-class models.",
    )
    queries: Positive = Field(200, description="Number of test records used as queries.")
    gradient_mib: Positive = Field(
        256,
        description="Mebibytes of per-sample gradients held at once (always at least two "
        "gradients). A smaller bound computes some of them again; scores change by rounding only.",
    )


class FinetuneSettings(Block):
    """Control method `finetune`: further training on the retain set only."""

    epochs: Annotated[float, Field(ge=0)] = Field(5.0, description="Passes over the retain set.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.01, description="Step size.")


class AscentSettings(Block):
    """Control method `ascent`: gradient ascent on the forget set only."""

    epochs: Annotated[float, Field(ge=0)] = Field(5.0, description="Passes over the forget set.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.05, description="Step size.")


class UnlearnSettings(Block):
    """Which method a new batch uses unless it says otherwise, and each method's own block."""

    method: str = "sisa"
    finetune: FinetuneSettings = FinetuneSettings()
    ascent: AscentSettings = AscentSettings()


class RelearnSettings(Block):
    """How the forget set is learned again, to see how much of it is still there."""

    tolerance: Fraction = Field(
        0.05, description="Relearned at (1 - tolerance) of the original's accuracy on it."
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.001, description="Adam's step size.")
    batch_size: Positive = Field(64, description="Records of the training set per step.")
    max_steps: Positive = Field(300, description="Steps after which a run counts as censored.")
    members: Positive = Field(5, description="Models per contender that relearn.")


class InversionSettings(Block):
    """Model inversion: gradient ascent on the input for a forgotten class."""

    steps: Positive = Field(100, description="Steps on each input.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.05, description="Adam's step size.")
    starts: Positive = Field(4, description="Random starting inputs per class and model.")
    members: Positive = Field(2, description="Models per contender that are inverted.")


class AuditSettings(Block):
    """Pools of models by which a procedure is judged, beside two pools of oracles."""

    members: Annotated[int, Field(ge=0, strict=True)] = Field(
        16,
        description="Models per contender M; 0: no audit. A pool costs M full trainings, kept by "
        "member. KLoM is only trustworthy from 80 on.",
    )
    min_records: Positive = Field(
        20,
        description="Smaller forget sets are not audited: figures of a handful of records say "
        "nothing, and come close to being about persons.",
    )
    easydub: bool = Field(False, description="Also report KLoM as EasyDUB computes it.")
    relearn: RelearnSettings = RelearnSettings()
    inversion: InversionSettings = InversionSettings()


class EvaluateSettings(Block):
    """What is measured."""

    oracle: bool = Field(
        True,
        description="Retrain an independent oracle without the batch for comparison: the cost of "
        "one full training. Without it the membership bound of the gate is skipped.",
    )
    oracle_seed_offset: Positive = Field(
        1,
        description="Added to run.seed for the independent oracle retrained without the batch.",
    )
    attack_folds: Annotated[int, Field(ge=2, strict=True)] = Field(
        5, description="Cross-validation folds of the membership-inference attack."
    )
    audit: AuditSettings = AuditSettings()


class GateSettings(Block):
    """What a model must hold before it is published. A bound of null is not checked."""

    min_test_accuracy: Fraction | None = Field(0.8, description="Test accuracy, 0 to 1.")
    max_test_accuracy_drop: Fraction | None = Field(
        0.05, description="Largest drop of test accuracy against the parent model, 0 to 1."
    )
    max_membership_gap: Fraction | None = Field(
        0.2,
        description="Largest |attack AUC - oracle's attack AUC|, two-sided, 0 to 1.",
    )
    max_ulira_accuracy: Fraction | None = Field(
        0.6,
        description="Largest U-LiRA accuracy on the forget set, 0.5 (chance) to 1; the lower end "
        "of its 95 % interval is held against it.",
    )
    max_klom_p95: Annotated[float, Field(ge=0)] | None = Field(
        None,
        description="Largest KLoM on the forget set (95th percentile), nats; skipped below 80 "
        "members, where the figure is inflated.",
    )
    controls: bool = Field(
        True,
        description="The audit's controls must behave; where doing nothing cannot be told from "
        "retraining, approximate methods fail.",
    )
    min_forget_records: Positive = Field(
        20,
        description="Forget sets smaller than this are too small for the bounds on membership, "
        "U-LiRA, KLoM and controls.",
    )


class PrivacySettings(Block):
    """Deadlines and pseudonyms."""

    due_days: Positive = Field(30, description="Days from receipt to the due date.")
    key_file: str = Field(
        ".forgetflow/pseudonym.key",
        description="Secret for keyed pseudonyms (HMAC-SHA256); made on first use, never in git.",
    )


class LineageSettings(Block):
    """Names in MLflow."""

    model_name: str = Field("forgetflow", min_length=1, description="Registered model.")
    experiment: str = Field("forgetflow", min_length=1, description="MLflow experiment.")
    tracking_uri: str | None = Field(
        None, description="MLflow tracking server; none: mlflow.db in the project folder."
    )


class RunSettings(Block):
    """Where and how work runs. Only `seed` and the kind of device reach a model's bytes."""

    seed: Annotated[int, Field(ge=0, lt=2**63, strict=True)] = Field(
        0, description="Root of all randomness."
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    runner: Literal["local", "dask"] = "local"
    workers: Positive = Field(
        1, description="Computing slots when there is no GPU; one per GPU else."
    )
    prefect_port: Annotated[int, Field(ge=0, le=65535, strict=True)] = Field(
        0,
        description="Port of the project's Prefect server; 0: a free one at every start.",
    )


class Settings(Block):
    """The whole of `params.yaml`."""

    data: DataSettings = DataSettings()
    partition: PartitionSettings = PartitionSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    attribution: AttributionSettings = AttributionSettings()
    unlearn: UnlearnSettings = UnlearnSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    gate: GateSettings = GateSettings()
    privacy: PrivacySettings = PrivacySettings()
    lineage: LineageSettings = LineageSettings()
    run: RunSettings = RunSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        architecture, family = self.model.architecture, self.model.family
        if (family == "one-class") != (self.partition.method == "arcane"):
            raise ValueError(
                f"partition.method {self.partition.method} and model.architecture {architecture} "
                "do not go together: arcane needs one-class models (autoencoder, gaussian), and "
                "only arcane can use them"
            )
        if family == "forest" and self.partition.layout[1] > 1:
            raise ValueError(
                "a forest gains nothing from slices: set partition.slices to 1, or "
                "partition.method to monolith"
            )
        if self.attribution.method == "grad_dot" and family != "network":
            raise ValueError(
                f"attribution.method grad_dot needs gradients of class margins, which "
                f"{architecture} has none of: use auto or none"
            )
        return self

    @property
    def aggregation(self) -> Literal["mean", "vote", "scores"]:
        """How constituents become one model (`training.aggregation`)."""
        return "scores" if self.model.family == "one-class" else self.partition.aggregation

    @property
    def attribution_method(self) -> Literal["grad_dot", "none"]:
        """What `attribution.method` means for this model."""
        if self.attribution.method == "auto":
            return "grad_dot" if self.model.family == "network" else "none"
        return self.attribution.method


def load_settings(path: Path) -> Settings:
    """Read and check `params.yaml`.

    Raises:
        InputError: the file is missing, is no YAML mapping, or a key is unknown, has the wrong
            type or an impossible value; the message names the key's path and what is allowed.
    """
    try:
        raw = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path} not found: run this inside a forgetflow project folder") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text: {error}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path} must be a mapping of blocks such as 'partition:' and 'train:'")
    return parse_settings(raw, where=str(path))


def parse_settings(raw: dict[str, Any], where: str = "params.yaml") -> Settings:
    """Turn a mapping into `Settings`; raises `InputError` like `load_settings`."""
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        raise InputError("; ".join(_explain(where, e) for e in error.errors())) from None


def _explain(where: str, error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        allowed = ", ".join(_siblings(error["loc"]))
        return f"{where}: unknown key '{path}'; allowed here: {allowed}"
    message = error["msg"].removeprefix("Value error, ")
    given = "" if isinstance(error["input"], dict) else f" (given: {error['input']!r})"
    return f"{where}: {path}: {message}{given}" if path else f"{where}: {message}"


def _siblings(loc: tuple[int | str, ...]) -> list[str]:
    block: type[BaseModel] = Settings
    for name in loc[:-1]:
        annotation = block.model_fields[str(name)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        block = annotation
    return sorted(block.model_fields)
