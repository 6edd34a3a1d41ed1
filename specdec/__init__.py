"""Speculative decoding with token trees: decoded for real, predicted and served, and proved to keep the target's law.

>>> from specdec import Pair, measure
>>> found = measure(Pair(), "lookup", nodes=8, prompts=2, tokens=16)
>>> found.matches_plain
True
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from specdec.api import advise, predict, serve
    from specdec.decoding.measure import measure
    from specdec.decoding.pair import Pair

__all__ = ["Pair", "advise", "measure", "predict", "serve"]

_HOMES = {
    "Pair": "specdec.decoding.pair",
    "advise": "specdec.api",
    "measure": "specdec.decoding.measure",
    "predict": "specdec.api",
    "serve": "specdec.api",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for: models, compiled loops and plots are slow to import."""
    if name not in _HOMES:
        raise AttributeError(f"module 'specdec' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
