"""The scene image: one file, and one region of accelerator memory, that holds a quantised, encoded scene.

Layout (little-endian; offsets in bytes from the image's start):

======================  =====================================================================================
device header           `HEADER`, 64 words of 32 bits that the accelerator reads and checks
host header             `HOST_FIELDS`, 32 values of float64: the geometry that camera registers are made of
rows                    one beat a row of cubes along x: 96 occupancy bits, 24 bits rank of the first live cube,
                        CRC-8; row index = z * cubes_y + y
records                 one `RECORD_BYTES` record a live cube in row order: the mask window, see `pack_record`
tables                  alpha table, then `pack_network`: loaded into on-chip memory at start
block headers           per density and appearance, per plane and line: 8 bytes a block, see `nerf.contract.blocks`
payload                 the blocks' payloads; none crosses a 4 KiB boundary
======================  =====================================================================================

Block order: a plane's tiles of 4 x 4 positions row by row (first axis fastest), a line's blocks of 16 positions;
the component groups of a block (`nerf.contract.config.AcceleratorConfig.groups`) are neighbours.
Position in a block: first + 4 * second.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nerf.contract.blocks import HEADER_BYTES, crc8
from nerf.contract.config import CUBE
from nerf.contract.formats import DENSITY_MULTIPLIER, MASK_OFFSET, MASK_SCALE, Format
from nerf.contract.network import Stage
from rtnerf.base.errors import InputError, require

MAGIC = 0x464E5452
VERSION = 2
BEAT = 16
"""Bytes in a memory beat: sections start on beats."""
PAGE = 4096
"""No burst may cross a multiple of this (AXI4)."""
RANK_BITS = 24


class Word(NamedTuple):
    """A field of the device header, of one or more words of 32 bits.

    Parameters
    ----------
    name : str
    format : Format
        Of each word; the bits above repeat the sign.
    count : int
        1; 3 for one along each axis; 6 for one for each factor of a kind, planes 0 to 2, then lines 0 to 2.
    held : bool
        Whether the accelerator holds it for the frame.
    """

    name: str
    format: Format = Format(32, 0, signed=False)
    count: int = 1  # type: ignore[assignment]  # A tuple's own count is not needed.
    held: bool = False

    def checked(self, value: int | Sequence[int]) -> int | Sequence[int]:
        """Return a value of the field; `InputError` when it does not fit."""
        values, fmt = np.atleast_1d(value), self.format
        fits = values.shape == (self.count,) and fmt.low <= values.min() and values.max() <= fmt.high
        rule = f"{self.count} of {fmt.low} to {fmt.high}" if self.count > 1 else f"from {fmt.low} to {fmt.high}"
        require(fits, self.name, rule, value)
        return value


WORDS = (
    Word("magic"),
    Word("version"),
    Word("config_digest"),
    Word("total_bytes"),
    Word("grid", Format(10, 0, signed=False), 3, held=True),
    Word("rows_offset", held=True),
    Word("records_offset", held=True),
    Word("payload_offset", held=True),
    Word("tables_offset"),
    Word("tables_beats"),
    Word("tables_checksum"),
    Word("density_headers", count=6, held=True),
    Word("appearance_headers", count=6, held=True),
    Word("mask_scale", MASK_SCALE, 3, held=True),
    Word("mask_offset", MASK_OFFSET, 3, held=True),
    Word("density_multiplier", DENSITY_MULTIPLIER, held=True),
    Word("density_offset", Format(31, 0), held=True),
    Word("phase_multiplier", Format(19, 0, signed=False), held=True),
    Word("sine_shift", Format(3, 0, signed=False), held=True),
    Word("live_cubes", Format(RANK_BITS, 0, signed=False), held=True),
    Word("payload_bytes", held=True),
)
HEADER_WORDS = 64
HEADER = np.dtype(
    [(word.name, "<i4" if word.format.signed else "<u4", (word.count,) if word.count > 1 else ()) for word in WORDS]
    + [("unused", "<u4", (HEADER_WORDS - 2 - sum(word.count for word in WORDS),)), ("crc", "<u4"), ("checksum", "<u4")]
)
"""The device header.

``crc``: CRC-32 of everything after the header, checked by the host. ``checksum`` makes the sum of all words 0 modulo
2**32, checked by the hardware.
"""
HOST_FIELDS = [
    "low_x",
    "low_y",
    "low_z",
    "unit_x",
    "unit_y",
    "unit_z",
    "step",
    "near",
    "far",
    "shading_threshold",
    "sample_count",
    "features",
    "hidden",
    "feature_bands",
    "view_bands",
    "components",
    "plain",
    "exchanged",
    "relu",
]
HOST_BYTES = 256
FORWARD_FACING = (
    "forward-facing in normalised device coordinates (NDC, near_far 0 and 1): only `rtnerf render` has its rays"
)
"""What a model is that its range marks so, in messages."""
BODY = 4 * HEADER_WORDS + HOST_BYTES
"""Offset of the first section."""

PAIRS = ((0, 1, 2), (0, 2, 1), (1, 2, 0))
"""Per pair: the plane's first (fastest) and second axis, and the line's axis (TensoRF)."""

ROW_BITS = 96
"""Largest number of cubes along x; along y and z it is 160."""
CUBE_LIMITS = (96, 160, 160)
MASK_WINDOW = 6
"""Mask cells along the side of a record's window."""
MASK_CELL_BITS = 10
RECORD_BYTES = 32


def whole_pages(size: int) -> int:
    """Return a size or an address in bytes, rounded up to pages."""
    return size + -size % PAGE


def cubes_of(grid: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the cubes along each axis of a factor grid, which is also the plane tiles along it."""
    x, y, z = ((n + CUBE - 1) // CUBE for n in grid)
    return x, y, z


def exchanged_axes(axis: int) -> list[int]:
    """Return 0, 1, 2 with 0 and another exchanged: the axis of the world along each axis of the grid."""
    axes = [0, 1, 2]
    axes[0], axes[axis] = axis, 0
    return axes


def header_index(factor: str, pair: int) -> int:
    """Return the place of a ``plane`` or ``line`` among the six factors of a kind."""
    return pair + (len(PAIRS) if factor == "line" else 0)


def pack_row(bits: int, rank: int) -> int:
    """Return the 128-bit row entry of occupancy bits (bit = cube x) and the rank of the row's first live cube."""
    word = bits | rank << ROW_BITS
    return word | crc8(word, 120) << 120


def unpack_row(word: int) -> tuple[int, int]:
    """Return (bits, rank) of a row entry; `InputError` when its checksum is wrong."""
    require(crc8(word & (1 << 120) - 1, 120) == word >> 120, "scene", "whole", "an image with a corrupt row")
    return word & (1 << ROW_BITS) - 1, word >> ROW_BITS & (1 << RANK_BITS) - 1


def pack_record(window: np.ndarray, base: tuple[int, int, int]) -> int:
    """Return a cube's 256-bit record.

    Parameters
    ----------
    window : bool array, shape (6, 6, 6) indexed z, y, x
        Occupied mask cells.
    base : (int, int, int)
        Mask cell x, y, z of the window's first corner.
    """
    bits = int.from_bytes(np.packbits(window.reshape(-1), bitorder="little").tobytes(), "little")
    word = bits
    for axis in range(3):
        word |= base[axis] << MASK_WINDOW**3 + axis * MASK_CELL_BITS
    return word | crc8(word, 248) << 248


def unpack_record(word: int) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Return (window, base) of a record, see `pack_record`; `InputError` when its checksum is wrong."""
    require(crc8(word & (1 << 248) - 1, 248) == word >> 248, "scene", "whole", "an image with a corrupt record")
    data = (word & (1 << MASK_WINDOW**3) - 1).to_bytes(MASK_WINDOW**3 // 8, "little")
    window = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little").astype(bool)
    x, y, z = (word >> MASK_WINDOW**3 + axis * MASK_CELL_BITS & (1 << MASK_CELL_BITS) - 1 for axis in range(3))
    return window.reshape((MASK_WINDOW,) * 3), (x, y, z)


ENTRY = np.dtype([("bias", "<i4"), ("multiplier", "<u2"), ("shift", "<u2")])
"""Requantisation of an output: out = (accumulator + bias) * multiplier >> shift, rounded."""


def row_beats(stage: Stage) -> int:
    """Return the beats of a row of weights, one byte a lane."""
    return -(-stage.lanes // BEAT)


def stage_beats(stage: Stage) -> int:
    """Return the beats of a stage's tables."""
    return stage.outputs + stage.rows * row_beats(stage)


def pack_network(stages: Sequence[Stage], weights: Sequence[np.ndarray], entries: Sequence[np.ndarray]) -> bytes:
    """Return the tables of all stages: of each the entries, one a beat, then the rows of weights, each in whole beats.

    Row r of a pass holds, for each lane, the weight of input r and the pass's first output + lane.

    Parameters
    ----------
    stages : of Stage
    weights : of int8 array (outputs, inputs)
        Per layer.
    entries : of uint64 array (outputs,)
        Per layer: each an `ENTRY`.
    """
    tables = bytearray()
    for stage in stages:
        for layer, _, _ in stage.layers:
            tables += np.stack([entries[layer], np.zeros_like(entries[layer])], axis=1).astype("<u8").tobytes()
        for one in stage.passes:
            part = weights[one.layer][one.first : one.first + one.outputs].T
            tables += np.pad(part, [(0, 0), (0, BEAT * row_beats(stage) - one.outputs)]).tobytes()
    return bytes(tables)


def unpack_network(stages: Sequence[Stage], tables: bytes) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return weights and entries as `pack_network` takes them."""
    layers = [layer for stage in stages for layer in stage.layers]
    weights = [np.empty((layer.outputs, layer.inputs), np.int8) for layer in layers]
    entries = [np.empty(layer.outputs, np.uint64) for layer in layers]
    offset = 0
    for stage in stages:
        for layer, _, _ in stage.layers:
            entries[layer][:] = np.frombuffer(tables, "<u8", 2 * len(entries[layer]), offset)[::2]
            offset += BEAT * len(entries[layer])
        for one in stage.passes:
            size = BEAT * row_beats(stage) * one.inputs
            rows = np.frombuffer(tables, np.int8, size, offset).reshape(one.inputs, -1)
            weights[one.layer][one.first : one.first + one.outputs] = rows[:, : one.outputs].T
            offset += size
    return weights, entries


@dataclass(frozen=True)
class Scene:
    """A checked scene image.

    Parameters
    ----------
    data : bytes
        The whole image.

    Raises
    ------
    InputError
        Wrong magic, version, length or checksum.
    """

    data: bytes

    def __post_init__(self) -> None:
        require(len(self.data) >= BODY, "scene", f"at least {BODY} bytes", len(self.data))
        words = np.frombuffer(self.data, "<u4", HEADER_WORDS)
        require(self.magic == MAGIC, "scene", "an RT-NeRF scene image", f"magic {self.magic:#010x}")
        require(self.version == VERSION, "scene", f"of version {VERSION}", self.version)
        require(
            self.total_bytes == len(self.data), "scene", f"{self.total_bytes} bytes as its header says", len(self.data)
        )
        require(_sum(words) == 0, "scene", "whole", "an image with a wrong header checksum")
        crc = zlib.crc32(self.data[4 * HEADER_WORDS :])
        require(self.crc == crc, "scene", f"of CRC-32 {self.crc:#010x}", f"{crc:#010x}")

    def __getattr__(self, name: str) -> Any:
        """Return a header field, an integer or a tuple of integers."""
        if name not in (HEADER.names or ()):
            raise AttributeError(name)
        value = np.frombuffer(self.data, HEADER, 1)[0][name].tolist()
        return tuple(value) if isinstance(value, list) else value

    @property
    def forward_facing(self) -> bool:
        """Whether the box is in normalised device coordinates, see `nerf.model.TensorfModel.forward_facing`."""
        return (self.host["near"], self.host["far"]) == (0, 1)

    @property
    def host(self) -> dict[str, float]:
        """Host header: world position of grid point 0 and cell size per axis, step, near, far (world units), ..."""
        return dict(
            zip(HOST_FIELDS, struct.unpack_from(f"<{len(HOST_FIELDS)}d", self.data, 4 * HEADER_WORDS), strict=True)
        )

    @property
    def cubes(self) -> tuple[int, int, int]:
        """Cubes along x, y, z."""
        return cubes_of(self.grid)

    def headers_offset(self, kind: str, factor: str, pair: int) -> int:
        """Return the offset of the headers of a kind's (``density``, ``appearance``) factor (``plane``, ``line``)."""
        return getattr(self, f"{kind}_headers")[header_index(factor, pair)]

    def block_header(self, kind: str, factor: str, pair: int, index: int) -> int:
        """Return the 64-bit header of a block by its index (group included)."""
        offset = self.headers_offset(kind, factor, pair) + index * HEADER_BYTES
        return int.from_bytes(self.data[offset : offset + HEADER_BYTES], "little")

    def block_counts(self, pair: int) -> dict[str, tuple[int, ...]]:
        """Return per factor of a pair the blocks along its axes: plane (first, second), line (blocks,)."""
        first, second, line = PAIRS[pair]
        return {"plane": (self.cubes[first], self.cubes[second]), "line": ((self.grid[line] + 15) // 16,)}


def is_scene_image(path: str | Path) -> bool:
    """Tell whether a file can be read and begins as a scene image does."""
    try:
        with open(path, "rb") as file:
            return file.read(4) == MAGIC.to_bytes(4, "little")
    except OSError:
        return False


def load_scene(path: str | Path) -> Scene:
    """Read a scene image, checked by its checksums. Raises `InputError` as `Scene` does, and for an unreadable file."""
    try:
        return Scene(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"scene must be a readable file, not {path} ({error.strerror})") from None


def check_grid(grid: tuple[int, int, int]) -> None:
    """Raise `InputError` when a factor grid is too large for the image format."""
    for axis, cubes, limit in zip("xyz", cubes_of(grid), CUBE_LIMITS, strict=True):
        require(cubes <= limit, f"grid size along {axis}", f"at most {limit * CUBE}", grid["xyz".index(axis)])


def assemble(
    words: Mapping[str, int | Sequence[int]],
    host: Mapping[str, float],
    sections: Sequence[tuple[str | tuple[str, int] | None, bytes]],
) -> Scene:
    """Lay out the sections, fill in their offsets, lengths and the checksums, and return the image.

    Parameters
    ----------
    words : mapping
        Fields of the device header that the caller knows, see `WORDS`.
    host : mapping
        Values of `HOST_FIELDS`.
    sections : sequence of (name, (name, index) or None, bytes)
        In layout order; the first part is the header field that takes the section's offset.

    Raises
    ------
    InputError
        A field is missing or does not fit its format.
    """
    words = {"density_headers": [0] * 6, "appearance_headers": [0] * 6, **words, "magic": MAGIC, "version": VERSION}
    body = bytearray()
    for field, content in sections:
        alignment = PAGE if field == "payload_offset" else BEAT
        body += bytes(-(BODY + len(body)) % alignment)
        if isinstance(field, tuple):
            name, index = field
            addresses = words[name]
            assert not isinstance(addresses, int)
            words[name] = [*addresses[:index], BODY + len(body), *addresses[index + 1 :]]
        elif field is not None:
            words[field] = BODY + len(body)
        body += content
        if field == "tables_offset":
            require(len(content) % BEAT == 0, "tables", f"a multiple of {BEAT} bytes", len(content))
            words["tables_beats"] = len(content) // BEAT
            words["tables_checksum"] = _sum(np.frombuffer(content, "<u4"))
    body += bytes(-(BODY + len(body)) % BEAT)
    words["total_bytes"] = BODY + len(body)
    tail = struct.pack(f"<{len(HOST_FIELDS)}d", *(host[name] for name in HOST_FIELDS)).ljust(HOST_BYTES, b"\0") + body
    header = np.zeros(1, HEADER)
    for word in WORDS:
        require(word.name in words, "words", "complete", f"without {word.name}")
        header[word.name] = word.checked(words[word.name])
    header["crc"] = zlib.crc32(tail)
    header["checksum"] = -_sum(header.view("<u4")) & 0xFFFFFFFF
    return Scene(header.tobytes() + bytes(tail))


def _sum(words: np.ndarray) -> int:
    return int(words.sum(dtype=np.uint64)) & 0xFFFFFFFF
