"""Studies by name: one file each, one line here."""

from typing import Any

from forgetflow.studies.arcane import ARCANE
from forgetflow.studies.forest import FOREST
from forgetflow.studies.protocol import Study
from forgetflow.studies.sharding import SHARDING

STUDIES: dict[str, Study[Any, Any]] = {one.name: one for one in (SHARDING, FOREST, ARCANE)}
