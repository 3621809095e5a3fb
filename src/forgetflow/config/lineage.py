"""Block `lineage`: names in MLflow."""

from pydantic import Field

from forgetflow.config.base import Block


class LineageSettings(Block):
    """Names in MLflow."""

    model_name: str = Field("forgetflow", min_length=1, description="Registered model.")
    experiment: str = Field("forgetflow", min_length=1, description="MLflow experiment.")
    tracking_uri: str | None = Field(
        None, description="MLflow tracking server; none: mlflow.db in the project folder."
    )
