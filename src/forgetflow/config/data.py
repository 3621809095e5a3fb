"""Block `data`: where records come from and how they are kept."""

from typing import Literal, Self

from pydantic import Field, model_validator

from forgetflow.config.base import Block, Fraction, Positive


class DataSettings(Block):
    """Where records come from and how they are kept."""

    source: Literal["digits", "idx", "cifar10", "npz", "parquet", "csv", "images"] = Field(
        "digits", description="What the training set is read from."
    )
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
