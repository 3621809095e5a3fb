"""Block `model`: what every constituent is."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from forgetflow.config.base import Block, Fraction, Positive


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
