"""The memory behind the accelerator: its timing and what lies where, for every engine and for the simulator."""

from dataclasses import asdict, dataclass
from typing import Any

from nerf.contract.config import AcceleratorConfig
from nerf.contract.registers import View, list_stride
from nerf.contract.scene_image import RECORD_BYTES, whole_pages
from rtnerf.base.errors import require

PIXEL_BYTES = 8


@dataclass(frozen=True)
class MemoryTiming:
    """Fixed latency and bandwidth, and random pauses; `cosim.wrapper.MEMORY_TIMING` says what they mean in cycles.

    Parameters
    ----------
    latency : int
        Cycles from an accepted read burst to its first beat, at least 1.
    beat_interval : int
        Cycles from a beat to the next, at least 1.
    pause : float
        Chance, for each cycle and channel, that the memory holds back, in 0..1, 1 excluded; in steps of 1/256.
    seed : int
        Of the pauses, 1 to 2**32 - 1.

    Raises
    ------
    InputError
        When a value breaks its rule.
    """

    latency: int = 20
    beat_interval: int = 1
    pause: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("latency", 1, 1 << 16),
            ("beat_interval", 1, 1 << 16),
            ("seed", 1, (1 << 32) - 1),
        ):
            value = getattr(self, name)
            require(type(value) is int and low <= value <= high, name, f"an integer from {low} to {high}", repr(value))
        require(0 <= self.pause < 1, "pause", "a number of at least 0 and below 1", self.pause)
        require(self.pause == 0 or self.pause_of_256 > 0, "pause", "0 or at least 0.002", self.pause)

    def record(self) -> dict[str, Any]:
        """What a result file says of it."""
        return {"kind": "fixed", **asdict(self)}

    @property
    def pause_of_256(self) -> int:
        """The chance as the memories take it: they compare it with 8 random bits."""
        return min(round(256 * self.pause), 255)


MEMORY_TIMINGS = {
    "default": MemoryTiming(),
    "ideal": MemoryTiming(latency=1),
    "slow": MemoryTiming(latency=40, beat_interval=2),
}
"""Timings by name. At 1 GHz and 16 bytes a beat, ``slow`` is 40 ns and 8 GB/s."""


@dataclass(frozen=True)
class Regions:
    """Where the benches and the simulator put what a frame needs: the scene image at 0, then the frame, then the lists.

    Parameters
    ----------
    frame_base, frame_bytes, list_base, list_bytes : int
    """

    frame_base: int
    frame_bytes: int
    list_base: int
    list_bytes: int

    @property
    def end(self) -> int:
        """The first byte behind everything."""
        return self.list_base + self.list_bytes


def place(image_bytes: int, view: View, config: AcceleratorConfig) -> Regions:
    """Return the regions of a frame. An image has a record for each live cube, so its size bounds the lists'."""
    frame_base = whole_pages(image_bytes)
    frame_bytes = PIXEL_BYTES * view.window_width * view.window_height
    list_bytes = rows_of_tiles(view, config) * list_stride(image_bytes // RECORD_BYTES)
    return Regions(frame_base, frame_bytes, whole_pages(frame_base + frame_bytes), list_bytes)


def rows_of_tiles(view: View, config: AcceleratorConfig) -> int:
    """Return the rows of tiles that the window has."""
    return -(-view.window_height // config.tile)
