"""Block `run`: where and how work runs."""

from typing import Annotated, Literal

from pydantic import Field

from forgetflow.config.base import Block, Positive


class RunSettings(Block):
    """Where and how work runs. Only `seed` and the kind of device reach a model's bytes."""

    seed: Annotated[int, Field(ge=0, lt=2**63, strict=True)] = Field(
        0, description="Root of all randomness."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where to compute; auto: a GPU when there is one."
    )
    runner: Literal["local", "dask"] = Field(
        "local", description="Where tasks run; dask: in a local Dask cluster."
    )
    workers: Positive = Field(
        1, description="Computing slots when there is no GPU; one per GPU else."
    )
    prefect_port: Annotated[int, Field(ge=0, le=65535, strict=True)] = Field(
        0,
        description="Port of the project's Prefect server; 0: a free one at every start.",
    )
