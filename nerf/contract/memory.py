"""The timing of the memory behind the accelerator: one set of parameters for every engine and for the simulator."""

from dataclasses import dataclass

from nerf.contract.errors import require


@dataclass(frozen=True)
class MemoryTiming:
    """Fixed latency and bandwidth, and random pauses; `cosim.wrapper.MEMORY_TIMING` says what they mean in cycles.

    Parameters
    ----------
    latency : int
        Cycles from an accepted read burst to its first beat, at least 1.
    beat_interval : int
        Cycles from a beat to the next, at least 1.
    pause : int
        Chance, of 256 and for each cycle and channel, that the memory holds back; 0 to 255.
    seed : int
        Of the pauses, 1 to 2**32 - 1.

    Raises
    ------
    InputError
        When a value breaks its rule.
    """

    latency: int = 20
    beat_interval: int = 1
    pause: int = 0
    seed: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("latency", 1, 1 << 16),
            ("beat_interval", 1, 1 << 16),
            ("pause", 0, 255),
            ("seed", 1, (1 << 32) - 1),
        ):
            value = getattr(self, name)
            require(type(value) is int and low <= value <= high, name, f"an integer from {low} to {high}", repr(value))


MEMORY_TIMINGS = {
    "default": MemoryTiming(),
    "ideal": MemoryTiming(latency=1),
    "slow": MemoryTiming(latency=40, beat_interval=2),
}
"""Timings by name. At 1 GHz and 16 bytes a beat, ``slow`` is 40 ns and 8 GB/s."""
