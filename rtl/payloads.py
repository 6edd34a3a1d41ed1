"""What travels between blocks: the payload layouts of all streams, and the frame-constant registers.

``last`` marks the end of a tile: such a payload carries nothing else, follows everything that belongs to the tile
through every block, and so tells the tile buffer when the tile is complete.
"""

from enum import IntEnum

from amaranth.hdl import Shape, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import COMPONENTS, CUBE, AcceleratorConfig
from nerf.contract.formats import (
    COLOUR_BITS,
    FACTOR,
    FRACTION_BITS,
    INVERSE,
    PLAIN_COLOUR,
    POSITION,
    PRODUCT,
    SINE_FRACTION,
    STEP,
    UNIT,
    Format,
)
from nerf.contract.registers import AXES, CAMERA_TABLE
from nerf.contract.scene_image import CUBE_LIMITS, HEADER, PAIRS, RANK_BITS, WORDS, Word
from rtl.parts.lanes import samples_of

CUBE_BITS = (max(CUBE_LIMITS) - 1).bit_length()
"""Bits of a cube coordinate; -1 and the count itself need a sign and one more."""
GRID_BITS = CUBE_BITS + CUBE.bit_length() - 1
LOCAL_BITS = CUBE.bit_length() - 1 + FRACTION_BITS
"""Bits of a position inside a cube: cell and interpolation weight."""
UNIT_BITS = UNIT + 1
"""Bits of alpha, weight and transmittance, 0 to 1.0."""


def shape_of(fmt: Format):
    """Return the Amaranth shape of a fixed-point format."""
    return signed(fmt.width) if fmt.signed else unsigned(fmt.width)


def vector3(shape) -> data.StructLayout:
    """Return the layout of one value per axis."""
    return data.StructLayout(dict.fromkeys(AXES, shape))


Cube = vector3(CUBE_BITS)
Local = vector3(LOCAL_BITS)
FactorVector = data.ArrayLayout(signed(FACTOR.width), COMPONENTS)


def cell_factors(components: int) -> data.ArrayLayout:
    """Return the layout of the factors round a cell, so many components of each, per pair.

    ``corners``: of the plane at (first, second), (first + 1, second), (first, second + 1), (first + 1, second + 1);
    ``ends``: of the line at along, along + 1; the components of the groups one behind the other.
    """
    vector = data.ArrayLayout(signed(FACTOR.width), components)
    pair = data.StructLayout({"corners": data.ArrayLayout(vector, 4), "ends": data.ArrayLayout(vector, 2)})
    return data.ArrayLayout(pair, len(PAIRS))


def product_vectors(lanes: int) -> data.ArrayLayout:
    """Return the layout of plane times line of ``lanes`` component groups, [pair][components of group after group]."""
    return data.ArrayLayout(data.ArrayLayout(signed(PRODUCT.width), lanes * COMPONENTS), len(PAIRS))


ProductVector = product_vectors(1)
"""Of one group."""


def _layout(word: Word, shape):
    """Return one shape, or one along each axis, or one a factor, as a field of the device header has it."""
    return {1: shape, 3: vector3(shape)}.get(word.count, data.ArrayLayout(shape, word.count))


DeviceHeader = data.StructLayout(
    {word.name: _layout(word, Shape(32, word.format.signed)) for word in WORDS}
    | {"unused": data.ArrayLayout(32, *HEADER["unused"].shape), "crc": 32, "checksum": 32}
)
"""The device header as it is in memory: see `nerf.contract.scene_image.HEADER`."""
_held = {word.name: _layout(word, shape_of(word.format)) for word in WORDS if word.held}
SceneRegisters = data.StructLayout({"grid": _held["grid"], "cubes": vector3(CUBE_BITS + 1)} | _held)
"""What is held of the device header for the frame, and the cubes along each axis."""

ViewRegisters = data.StructLayout(
    {
        register.name: vector3(shape_of(register.format)) if register.vector else shape_of(register.format)
        for register in CAMERA_TABLE
    }
)
"""Camera registers of a frame: see `nerf.contract.registers.CAMERA_TABLE`."""

Ray = data.StructLayout(
    {"position": vector3(shape_of(POSITION)), "step": vector3(shape_of(STEP)), "inverse": vector3(shape_of(INVERSE))}
)
"""What the sample generator needs of a pixel's ray."""
Direction = vector3(signed(SINE_FRACTION + 2))
"""View direction of a pixel."""

CubeVisit = data.StructLayout({"cube": Cube, "rank": RANK_BITS, "last": 1})
WINDOW_BITS = 14
"""Bits of a window pixel's column or row."""
Footprint = data.StructLayout(
    {"cube": Cube, "rank": RANK_BITS}
    | dict.fromkeys(("first_x", "first_y", "last_x", "last_y"), WINDOW_BITS)
    | {"last": 1}
)
"""A cube and the window pixels that it may cover; ``last``: it is none, but the end of the walk."""
TableWrite = data.StructLayout({"beat": 16, "data": 128})
"""One beat of the tables section on its way into on-chip memories; ``beat`` counts from the section's start."""

TREE_LEAF = PRODUCT.width + 2
"""Bits of the products of three pairs, added."""
TREE_SUM = TREE_LEAF + 4
TREE_CREDITS = 6
"""Responses of the tree that a client may have asked for and not taken."""


class Mode(IntEnum):
    """What a request asks of the tree."""

    SUM = 0
    """``total``: sum of the 16 signed ``values``."""
    PREFIX = 1
    """``prefix``: set ``bits`` before each; ``total``: all set bits."""
    SEARCH = 2
    """``index``: place of the ``k``-th (from 0) set bit; ``found``: there is one; ``total``: all set bits."""


TreeRequest = data.StructLayout(
    {"mode": 2, "values": data.ArrayLayout(signed(TREE_LEAF), COMPONENTS), "bits": COMPONENTS, "k": 4}
)
"""``mode`` is a `Mode`; ``values`` for sums, ``bits`` for prefix and search, ``k`` for search."""
TreeResponse = data.StructLayout(
    {"total": signed(TREE_SUM), "prefix": data.ArrayLayout(5, COMPONENTS), "index": 4, "found": 1}
)
"""``total``: sum, or count of the set bits; ``prefix``: set bits before each; ``index``: of the k-th set bit."""


class BlockLayouts:
    """Layouts of blocks and their places, which depend on a configuration's components and cube buffers."""

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self.block = (max(cfg.groups.values()) * CUBE_LIMITS[1] * CUBE_LIMITS[2] - 1).bit_length()
        """Bits of a block index, component group included."""
        window_bits = max(cfg.window_bits.values())
        self.FactorAddress = data.StructLayout({"group": cfg.group_bits, "cell": vector3(window_bits + 4)})
        """Where a cube buffer is read: ``cell`` has the coordinates of its first vertex modulo the window of a line, or
        a multiple of it."""
        self.BlockAddress = data.StructLayout({"line": 1, "pair": 2, "group": cfg.group_bits, "slot": 2 * window_bits})
        """Where a decoded block goes: in a plane, ``slot`` = first tile % window + window * (second tile % window); in
        a line, block % window."""
        self.BlockRequest = data.StructLayout({"to": self.BlockAddress, "index": self.block})
        """``index``: of the block among its factor's, component group included."""
        self.DecodeJob = data.StructLayout(
            {"appearance": 1, "to": self.BlockAddress, "form": 2, "mask": 16, "count": 9, "skip": 1}
        )
        """``skip``: the payload starts in the upper half of its first beat."""
        self.VectorPart = data.ArrayLayout(FactorVector.elem_shape, cfg.interpolated_components)
        """As many components of a vector as an interpolator takes at a time."""
        parts = range(max(cfg.vector_parts, 2))
        self.VectorWrite = data.StructLayout(
            {"to": self.BlockAddress, "position": 4, "part": parts, "values": self.VectorPart}
        )
        """One part of a decoded vector on its way into a cube buffer; ``part`` 0 where a vector has only one."""
        self.DecodedVector = data.StructLayout({"appearance": 1, "write": self.VectorWrite, "block_last": 1})
        """A part for the density or the appearance cube buffer; ``block_last``: the last of its block."""


class TileLayouts:
    """Layouts whose fields depend on the tile size and the colours of a configuration."""

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self.coordinate = cfg.tile_bits
        self.place = cfg.tiles.bit_length() - 1
        """Bits of a tile's place on chip: its number modulo ``tiles``, of those that a cube may meet."""
        self.pixel = 2 * cfg.tile_bits + self.place
        """Bits of a pixel index: (place of its tile * tile + row) * tile + column."""
        self.TileRow = data.StructLayout(
            {"entries": RANK_BITS, "first": WINDOW_BITS - cfg.tile_bits, "last": WINDOW_BITS - cfg.tile_bits}
        )
        """A row of tiles: the entries of its cube list and, if there are any, the first and last tile they meet."""
        self.colour = shape_of(PLAIN_COLOUR) if cfg.colours == "plain" else unsigned(COLOUR_BITS)
        self.Tile = data.StructLayout(
            {
                "x": WINDOW_BITS,
                "y": WINDOW_BITS,
                "last_x": cfg.tile_bits,
                "last_y": cfg.tile_bits,
                "place": self.place,
                "entries": RANK_BITS,
            }
        )
        """A tile: first window pixel, its last column and row (size minus one), its place on chip, and the entries of
        its row's cube list."""
        self.Rectangle = data.StructLayout(
            {
                "cube": Cube,
                "rank": RANK_BITS,
                "first_x": cfg.tile_bits,
                "first_y": cfg.tile_bits,
                "last_x": cfg.tile_bits,
                "last_y": cfg.tile_bits,
                "tile": self.place,
                "last": 1,
            }
        )
        """A cube and the tile pixels that it may cover; ``tile``: the tile's place on chip."""
        self.Sample = data.StructLayout({"pixel": self.pixel, "cube": Cube, "local": Local, "last": 1})
        self.OpaqueSample = data.StructLayout(
            {"pixel": self.pixel, "cube": Cube, "local": Local, "alpha": UNIT_BITS, "last": 1}
        )
        self.VisibleSample = data.StructLayout(
            {"pixel": self.pixel, "cube": Cube, "local": Local, "weight": UNIT_BITS, "last": 1}
        )
        self.Samples, self.OpaqueSamples, self.VisibleSamples = (
            samples_of(sample, cfg.density_lanes) for sample in (self.Sample, self.OpaqueSample, self.VisibleSample)
        )
        """What travels from the sample generator to the compositor, and leaves it: one for each density lane."""
        self.ShadeJob = data.StructLayout({"pixel": self.pixel, "weight": UNIT_BITS, "direction": Direction, "last": 1})
        """A sample whose products follow on the products stream (none if ``last``)."""
        self.ColouredSample = data.StructLayout(
            {"pixel": self.pixel, "weight": UNIT_BITS, "colour": data.ArrayLayout(self.colour, 3), "last": 1}
        )
        self.RayWrite = data.StructLayout({"pixel": self.pixel, "ray": Ray, "direction": Direction, "live": 1})
        self.PixelWrite = data.StructLayout(
            {"x": WINDOW_BITS, "y": WINDOW_BITS, "channels": data.ArrayLayout(16, 4), "ends_row": 1}
        )
        """A finished pixel, in window coordinates: red, green, blue, opacity; ``ends_row``: the last of a row of its
        tile."""


def read_request(cfg: AcceleratorConfig) -> data.StructLayout:
    """Return the layout of a memory read: byte address (any; its beat is read from the start) and beats minus one."""
    return data.StructLayout({"address": cfg.address_width, "last_beat": 5})


ReadBeat = data.StructLayout({"data": 128, "last": 1})


def beat_write(cfg: AcceleratorConfig) -> data.StructLayout:
    """Return the layout of a whole beat on its way to memory: byte address and content."""
    return data.StructLayout({"address": cfg.address_width, "data": cfg.data_width})


class ReadPort(wiring.Signature):
    """A client's side of the memory read master.

    Members
    -------
    request : Out(stream)
        `read_request`; a burst must not cross a 4 KiB boundary.
    beats : In(stream)
        `ReadBeat`: the data, in order. The client must accept every beat without waiting for another client.
    """

    def __init__(self, cfg: AcceleratorConfig) -> None:
        super().__init__({"request": Out(stream.Signature(read_request(cfg))), "beats": In(stream.Signature(ReadBeat))})


class TreePort(wiring.Signature):
    """A client's side of the shared bi-directional tree: requests out, responses in, in order."""

    def __init__(self) -> None:
        super().__init__(
            {"request": Out(stream.Signature(TreeRequest)), "response": In(stream.Signature(TreeResponse))}
        )


class LookUp(wiring.Signature):
    """A user's side of a memory read port: ``data`` answers ``address`` one cycle later, while ``enable`` is set."""

    def __init__(self, address, shape) -> None:
        super().__init__({"address": Out(address), "enable": Out(1), "data": In(shape)})


class FactorLookUp(wiring.Signature):
    """An interpolator's side of a cube buffer's read port: a `LookUp` of the factors round a cell.

    ``part``: of the vectors, the one that is read: so many components as the interpolator takes at a time. ``lanes``:
    component groups that are read at a time.
    """

    def __init__(self, cfg: AcceleratorConfig, lanes: int) -> None:
        read = cell_factors(lanes * cfg.interpolated_components)
        # A single part has a bit, too: Verilog has no signal without.
        part = Out(range(max(cfg.vector_parts, 2)))
        super().__init__(dict(LookUp(BlockLayouts(cfg).FactorAddress, read).members) | {"part": part})
