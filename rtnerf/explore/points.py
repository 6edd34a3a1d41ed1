"""Points of the design space: all settings of what is simulated, each under one name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from nerf.contract.config import AcceleratorConfig, load_config
from nerf.contract.memory import MEMORY_TIMINGS, MemoryTiming
from nerf.train.tuning import Knobs
from rtnerf.base.errors import InputError, require
from rtnerf.base.sources import digest_of
from sim.ablation import Switches
from sim.memory.dram import PRESETS, Dram

SOURCES = ("nerf", "sim", "rtl", "rtnerf.base", "rtnerf.explore", "rtnerf.physical")
"""Packages that a point's results are made with."""


def _names(kind: Any, *without: str) -> frozenset[str]:
    return frozenset(field.name for field in fields(kind)) - set(without)


@dataclass(frozen=True)
class Subject:
    """What is rendered.

    Parameters
    ----------
    model : str, optional
        A file; None: the embedded model.
    transforms, axes, split
        Cameras, as `nerf.cameras.load_cameras` takes them.
    background : tuple of int
    views : tuple of int
        Numbers of the views; each is a frame from a fresh start.
    size : int or tuple of int
        Width of the full picture, or width and height, in pixels.
    crop : tuple of int, optional
        Only this window (x, y, width, height) of the full picture.
    psnr_size : int
        Width of the pictures that are compared with those of the data set, 0: none are.
    """

    model: str | None = None
    transforms: str | None = None
    axes: str | None = None
    split: str = "all"
    background: tuple[int, ...] = (255, 255, 255)
    views: tuple[int, ...] = (0,)
    size: int | tuple[int, ...] = 200
    crop: tuple[int, ...] | None = None
    psnr_size: int = 100

    def __post_init__(self) -> None:
        for name in ("model", "transforms"):
            path = getattr(self, name)
            require(path is None or Path(path).exists(), name, "an existing file", path)
        _require_wholes("views", self.views, 0)
        require(len(set(self.views)) == len(self.views), "views", "different", list(self.views))
        size = (self.size,) if isinstance(self.size, int) else self.size
        _require_wholes("size", size, 1)
        require(len(size) <= 2, "size", "a width, or a width and a height", list(size))
        _require_wholes("background", self.background, 0)
        require(len(self.background) == 3, "background", "three numbers from 0 to 255", list(self.background))
        if self.crop is not None:
            _require_wholes("crop", self.crop, 0)
            require(len(self.crop) == 4, "crop", "x, y, width and height in pixels", list(self.crop))
        _require_wholes("psnr_size", (self.psnr_size,), 0)

    @property
    def dimensions(self) -> tuple[int, int | None]:
        """Width and height of the full picture; the height is None where the data set says it."""
        if isinstance(self.size, int):
            return self.size, None
        return self.size[0], self.size[1] if len(self.size) == 2 else None


SUBJECT, KNOBS, SWITCHES = _names(Subject), _names(Knobs), _names(Switches)
CONFIG = _names(AcceleratorConfig, "name")
FIXED, BANKED = _names(MemoryTiming, "seed"), _names(Dram, "standard")
MEMORIES = (*PRESETS, "fixed", *(name for name in MEMORY_TIMINGS if name != "default"))
NAMES = SUBJECT | KNOBS | SWITCHES | CONFIG | FIXED | BANKED | {"config", "memory", "clock_mhz"}
"""Every setting of a point."""
EMBEDDED = "embedded"
"""The model that comes along, where a list names it beside files."""


@dataclass(frozen=True)
class Point:
    """A point: settings that go together.

    Parameters
    ----------
    subject : Subject
    knobs : Knobs
        What is done to the model before.
    switches : Switches
    config : AcceleratorConfig
    timing : MemoryTiming or Dram
    clock_mhz : float
        Assumed.
    """

    subject: Subject
    knobs: Knobs
    switches: Switches
    config: AcceleratorConfig
    timing: MemoryTiming | Dram
    clock_mhz: float

    def settings(self) -> dict[str, Any]:
        """What a result file says of it, besides configuration and memory."""
        return asdict(self.subject) | asdict(self.knobs) | asdict(self.switches) | {"clock_mhz": self.clock_mhz}

    @property
    def origins(self) -> list[str | None]:
        """Digests of the files that it reads, and of the code that makes its results."""
        files = [file_digest(path) for path in (self.subject.model, self.subject.transforms) if path is not None]
        return [*files, _sources()]

    @cached_property
    def digest(self) -> str:
        """Of all that its results depend on."""
        return digest([self.settings(), self.config.digest, self.timing.record(), self.origins])


def point_of(settings: Mapping[str, Any], folder: Path) -> Point:
    """Return the point of some settings; the others have their defaults, those of the preset ``config`` included.

    Parameters
    ----------
    settings : mapping
        By `NAMES`, as TOML has them.
    folder : Path
        That files are relative to.

    Raises
    ------
    InputError
        An unknown name, a value that breaks its rule, or values that do not go together.
    """
    for name in settings:
        require(name in NAMES, "settings", f"of the names {', '.join(sorted(NAMES))}", name)
    placed = {name: _placed(name, value, folder) for name, value in settings.items()}
    if placed.get("model") == EMBEDDED:
        del placed["model"]
    base = load_config(_path(placed.get("config", "tiny"), folder, ".toml"))
    config = replace(base, **_chosen(placed, CONFIG))
    if config != base:
        config = replace(config, name=f"{base.name}-{config.digest[:8]}")
    clock_mhz = placed.get("clock_mhz", 1000)
    _require_number("clock_mhz", clock_mhz)
    require(0 < clock_mhz <= 10000, "clock_mhz", "above 0 and at most 10000", clock_mhz)
    return Point(
        _made(Subject, _chosen(placed, SUBJECT)),
        _made(Knobs, _chosen(placed, KNOBS)),
        _made(Switches, _chosen(placed, SWITCHES)),
        config,
        _memory(placed),
        float(clock_mhz),
    )


def digest(value: Any) -> str:
    """First 64 bits of a digest of a JSON value, hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _memory(settings: Mapping[str, Any]) -> MemoryTiming | Dram:
    kind = settings.get("memory", "lpddr4")
    require(kind in MEMORIES, "memory", f"one of {', '.join(MEMORIES)}", kind)
    mine, other = (BANKED, FIXED) if kind in PRESETS else (FIXED, BANKED)
    for name in sorted(other & settings.keys()):
        raise InputError(f"{name} must be absent with memory {kind}, not {settings[name]}")
    values = _chosen(settings, mine)
    if kind in PRESETS:
        return _made(Dram, asdict(PRESETS[kind]) | values)
    return replace(MEMORY_TIMINGS["default" if kind == "fixed" else kind], **values)


def _chosen(settings: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name in names}


def _made(kind: Any, values: Mapping[str, Any]) -> Any:
    """Make a dataclass of settings, after checking that numbers and words are where its defaults have them."""
    for field in fields(kind):
        if field.name not in values:
            continue
        value = values[field.name]
        if isinstance(field.default, str) or field.name in ("model", "transforms", "axes"):
            require(isinstance(value, str), field.name, "text", repr(value))
        elif not isinstance(field.default, tuple) and field.name not in ("size", "crop"):
            _require_number(field.name, value)
            whole = type(field.default) is int
            require(not whole or isinstance(value, int), field.name, "a whole number", value)
    return kind(**values)


def _placed(name: str, value: Any, folder: Path) -> Any:
    if name in ("model", "transforms") and value != EMBEDDED:
        return _path(value, folder)
    return tuple(value) if isinstance(value, list) else value


def _path(value: Any, folder: Path, ending: str = "") -> Any:
    """Return a file relative to a folder; what does not end so is no file but a name."""
    return str((folder / value).resolve()) if isinstance(value, str) and value.endswith(ending) else value


def _require_number(name: str, value: Any) -> None:
    require(isinstance(value, int | float) and not isinstance(value, bool), name, "a number", repr(value))


def _require_wholes(name: str, values: Any, least: int) -> None:
    good = isinstance(values, tuple) and values and all(type(value) is int and value >= least for value in values)
    require(bool(good), name, f"whole numbers of at least {least}", values)


@cache
def _sources() -> str | None:
    return digest_of(SOURCES)


@cache
def file_digest(path: str) -> str:
    """Of a file's content; of a folder, of names, sizes and times of the files in it, which may be many pictures."""
    place = Path(path)
    try:
        if place.is_dir():
            files = [each for each in sorted(place.rglob("*")) if each.is_file()]
            facts = [(str(each.relative_to(place)), each.stat()) for each in files]
            return digest([[name, fact.st_size, fact.st_mtime_ns] for name, fact in facts])
        return hashlib.sha256(place.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"settings must name readable files, not {path} ({error.strerror})") from None
