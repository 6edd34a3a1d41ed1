"""Models by name, and the one way from a name or a file to an architecture."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rtnerf.base.errors import require
from specdec.cost.architecture import Architecture
from specdec.cost.config import architecture_of, read_config

DATA = Path(__file__).parents[1] / "data" / "models.json"


@cache
def _configurations() -> dict[str, Any]:
    return json.loads(DATA.read_bytes())


class _Models(Mapping[str, Architecture]):
    """Architectures by name, made when they are asked for."""

    def __getitem__(self, name: str) -> Architecture:
        return architecture_of(_configurations()[name], name)

    def __iter__(self) -> Iterator[str]:
        return iter(_configurations())

    def __len__(self) -> int:
        return len(_configurations())


MODELS: Mapping[str, Architecture] = _Models()
"""Models by name, from the sizes in their published ``config.json``."""


def model_of(name: str | Path) -> Architecture:
    """Return one of `MODELS`, or the model that a ``config.json`` describes.

    Raises
    ------
    InputError
        If there is no such model; and as `specdec.cost.config.read_config`.
    """
    if isinstance(name, Path):
        return read_config(name)
    require(name in MODELS, "model", f"one of {', '.join(MODELS)}, or the path of a config.json", name)
    return MODELS[name]
