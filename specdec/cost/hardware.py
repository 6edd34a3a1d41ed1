"""Machines by their data sheets, or by a TOML file with the same keys."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import inf
from pathlib import Path
from typing import Any

from rtnerf.base.errors import InputError, require

LARGEST_FILE = 1 << 20
"""Bytes of a description that is read."""

LEAST, LARGEST = 1e-6, 1e12
"""Of a figure in it that may not be 0."""

MAY_LACK = ("fp8", "int8", "fp4", "block_us", "link_us")
"""Figures that may be 0."""


@dataclass(frozen=True)
class Hardware:
    """A machine.

    Members
    -------
    bandwidth : float
        Of its memory, GB/s.
    peak : float
        Dense bf16 operations, Tflop/s.
    capacity : float
        Of its memory, GB.
    fp8, int8, fp4 : float
        Dense operations in these formats, Tflop/s; 0 where it has none.
    link : float
        To the others of its node, GB/s in one direction.
    node : int
        Machines that are linked so.
    network : float
        Beyond the node, GB/s in one direction.
    bandwidth_reached, peak_reached, narrow_reached, link_reached : float
        Shares that passes reach: of bandwidth, of the peak in bf16 and in narrower formats, of links.
    block_us, link_us : float
        Microseconds of starting what a block consists of, and of a message.
    unpacked_reached : float
        Share of the reached bandwidth at which experts are read in a format that the machine does not multiply.
    source : str
        Where the figures are from.

    The defaults of what is reached are derived: ``bandwidth_reached``, ``peak_reached`` and ``block_us`` from passes of
    Llama-2-7B on an A100 (vidur), ``narrow_reached`` from FP8 products on an H100, ``link_reached`` and
    ``link_us`` from served models on two to eight (AIConfigurator); all-reduces alone reach more of the links.
    ``unpacked_reached`` is from gpt-oss-120b in MXFP4 on H200; vLLM's kernels for INT4 experts on an H100 reach less.
    """

    bandwidth: float
    peak: float
    capacity: float = inf
    fp8: float = 0.0
    int8: float = 0.0
    fp4: float = 0.0
    link: float = 32.0
    node: int = 8
    network: float = 25.0
    bandwidth_reached: float = 0.80
    peak_reached: float = 0.67
    narrow_reached: float = 0.5
    link_reached: float = 0.4
    block_us: float = 15.0
    link_us: float = 8.0
    unpacked_reached: float = 0.7
    source: str = ""

    def computes(self, kind: str) -> bool:
        """Whether the machine multiplies numbers of a format."""
        return kind == "bf16" or (kind != "int4" and getattr(self, kind) > 0)

    def rate(self, kind: str) -> float:
        """Return the operations that it reaches in a format that it computes, Tflop/s."""
        return self.peak * self.peak_reached if kind == "bf16" else float(getattr(self, kind)) * self.narrow_reached


AMPERE = "NVIDIA data sheets of A100, A40, RTX A6000; GA102 whitepaper"
HOPPER = "NVIDIA data sheets of H100 and H200"
BLACK = "NVIDIA Blackwell and Blackwell Ultra data sheets, as AIConfigurator 095f58a has them"
ADA = "NVIDIA data sheets of L4, L40, L40S; Ada whitepaper, with FP32 accumulation"

HARDWARE = {
    "v100": Hardware(900, 125, 32, link=150, source="NVIDIA V100 data sheet"),
    "a100-40g": Hardware(1555, 312, 40, int8=624, link=300, source=AMPERE),
    "a100-80g": Hardware(2039, 312, 80, int8=624, link=300, source=AMPERE),
    "a40": Hardware(696, 149.7, 48, int8=299.3, source=AMPERE),
    "a6000": Hardware(768, 154.8, 48, int8=309.7, source=AMPERE),
    "rtx-3090": Hardware(936, 71, 24, int8=284, source=AMPERE),
    "h100": Hardware(3350, 989, 80, fp8=1979, int8=1979, link=450, network=50, source=HOPPER),
    "h100-nvl": Hardware(3900, 835.5, 94, fp8=1670.5, int8=1670.5, link=300, node=2, network=64, source=HOPPER),
    "h200": Hardware(4800, 989, 141, fp8=1979, int8=1979, link=450, network=50, source=HOPPER),
    "b200": Hardware(7700, 2250, 180, fp8=4500, int8=4500, fp4=9000, link=900, network=100, source=BLACK),
    "b300": Hardware(7750, 2250, 268, fp8=4500, int8=153.5, fp4=14000, link=900, network=100, source=BLACK),
    "gb200": Hardware(8000, 2500, 185, fp8=5000, int8=5000, fp4=10000, link=900, node=72, network=100, source=BLACK),
    "gb300": Hardware(8000, 2500, 277, fp8=5000, int8=165, fp4=15000, link=900, node=72, network=100, source=BLACK),
    "l4": Hardware(300, 121, 24, fp8=242, int8=242, source=ADA),
    "l40": Hardware(864, 181, 48, fp8=362, int8=362, source=ADA),
    "l40s": Hardware(864, 362, 48, fp8=733, int8=733, network=50, source=ADA),
    "rtx-4090": Hardware(1008, 165.2, 24, fp8=330.3, int8=660.6, source=ADA),
    "rtx-5090": Hardware(1792, 209.5, 32, fp8=419, int8=838, fp4=1676, link=64, source="RTX Blackwell whitepaper"),
    "rtx-pro-6000": Hardware(1792, 467.8, 96, fp8=935.6, int8=935.6, fp4=1871, link=64, network=50, source=BLACK),
    "mi300x": Hardware(5300, 1307.4, 192, fp8=2614.9, int8=2614.9, link=448, network=50, source="AMD data sheet"),
    "mi355x": Hardware(
        8000, 2516.6, 288, fp8=5033.2, int8=5033.2, fp4=10066.3, link=537.6, network=50, source="AMD data sheet"
    ),
}  # fmt: skip
HARDWARE["a100"] = HARDWARE["a100-80g"]
"""Machines by name, in the SXM or OAM form where there are several. Links of cards without their own are PCIe's."""


def hardware_of(name: str | Path) -> Hardware:
    """Return one of `HARDWARE`, or the machine that a TOML file describes.

    Raises
    ------
    InputError
        If there is no such machine; and as `read_hardware`.
    """
    if isinstance(name, Path):
        return read_hardware(name)
    rule = f"one of {', '.join(HARDWARE)}, or the path of a .toml"
    require(name in HARDWARE, "hardware", rule, name)
    return HARDWARE[name]


def read_hardware(path: Path) -> Hardware:
    """Read a machine from TOML with the members of `Hardware` as keys; ``bandwidth`` and ``peak`` are needed.

    Raises
    ------
    InputError
        If there is no such file, or a key is missing, unknown, or not a number above 0 (shares: at most 1).
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        require(len(content) <= LARGEST_FILE, "hardware", f"a file of at most {LARGEST_FILE >> 20} MiB", path)
        found = tomllib.loads(content.decode())
    except OSError as error:
        raise InputError(f"hardware must be a readable file, not {path} ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise InputError(f"hardware must be a TOML file, not {path}") from None
    return _checked(found)


def _checked(found: Mapping[str, Any]) -> Hardware:
    known = {one.name for one in fields(Hardware)}
    for key, value in found.items():
        require(key in known, "keys of the hardware", f"among {', '.join(sorted(known))}", key)
        name, most = f"{key} of the hardware", 1.0 if key.endswith("_reached") else LARGEST
        if key == "source":
            require(isinstance(value, str), name, "a text", value)
        elif key == "node":
            require(type(value) is int and 1 <= value <= LARGEST, name, "a whole number of at least 1", value)
        else:
            least = 0 if key in MAY_LACK else LEAST
            fits = type(value) in (int, float) and least <= value <= most
            require(fits, name, f"a number from {least:g} to {most:g}", _shown(value))
    for key in ("bandwidth", "peak"):
        require(key in found, f"{key} of the hardware", "given", "missing")
    return Hardware(**found)


def _shown(value: Any) -> str:
    """Return the beginning of a value; a number of thousands of digits has no text."""
    return "a number of many digits" if type(value) is int and abs(value) > LARGEST else str(value)[:40]
