"""The cube loader: which factor blocks a cube needs, and which of them are in the cube buffer already."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nerf.contract.config import CUBE, AcceleratorConfig
from nerf.contract.registers import AXES
from nerf.contract.scene_image import PAIRS
from rtl.parts.carry_save import compress, few_rows
from rtl.payloads import CUBE_BITS, BlockLayouts, Cube, SceneRegisters

TILE_BITS = CUBE_BITS + 1
"""Bits of a tile coordinate: that of a cube, or one more."""
LINE_SHIFT = CUBE.bit_length() - 1
"""A line block of 16 positions covers 4 cubes."""
CANDIDATES = 6
"""Blocks that a pair may need: 2 x 2 plane tiles and 2 line blocks."""


class CubeLoader(wiring.Component):
    """Request the blocks that cubes need and the cube buffer lacks, and tell of each cube when they are all there.

    A cube needs, per pair, its plane tile and the neighbours one further along both axes, and the line block of its
    first and last vertex; what lies outside the grid is left out. Each block has one slot in the buffer's window, whose
    tag says which block it holds.

    The loader holds ``cube_queue`` cubes: announced ones, loaded ones, and the one that is read. They are loaded ahead,
    in order, one after the other. A slot that an earlier one of them may read is not requested before that one is
    ``finished``. Blocks are done in the order of their requests; a token is offered when those of its cube are.

    A candidate is found, looked up and examined, a step each; the steps stand still while blocks are requested.

    Latency: `LATENCY` cycles from an accepted cube to its token if all blocks are there; each request adds a cycle.
    Throughput: a cube in `CYCLES`, and a cycle for each block that is not there and for each request.

    Parameters
    ----------
    cfg : AcceleratorConfig
    kind : str
        ``density`` or ``appearance``: its component groups and window.

    Members
    -------
    i : In(stream)
        `Cube`: the cubes to load, in order.
    o : Out(stream)
        `Cube`: the token of a cube whose blocks are all in the buffer.
    finished : In(1)
        Strobe: the first of the cubes that are read will not be read any more. A cube is read from the cycle after that
        in which its token is accepted; no more than ``cube_queue`` - 1 may be read at a time.
    o_request : Out(stream)
        `BlockRequest`.
    done : In(1)
        Strobe: a requested block has been written.
    scene : In(SceneRegisters)
    """

    CYCLES = len(PAIRS) * CANDIDATES
    LATENCY = CYCLES + 3

    def __init__(self, cfg: AcceleratorConfig, kind: str) -> None:
        self._groups = cfg.groups[kind]
        self._block_bits = BlockLayouts(cfg).block
        self._cubes = cfg.cube_queue
        self._window_bits = cfg.window_bits[kind]
        self._tag_bits = 2 * (CUBE_BITS - self._window_bits)
        self._place_bits = 2 * self._window_bits + 2
        """Of a slot among those of all pairs: the planes' come first."""
        super().__init__(
            {
                "i": In(stream.Signature(Cube)),
                "o": Out(stream.Signature(Cube)),
                "finished": In(1),
                "o_request": Out(stream.Signature(BlockLayouts(cfg).BlockRequest)),
                "done": In(1),
                "scene": In(SceneRegisters),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the ring of cubes, the steps of a candidate, the tags and the counts of blocks."""
        m = Module()
        ring = _Ring(self._cubes, len(PAIRS) * CANDIDATES * self._groups)
        found, wanted = Signal(self._found_layout()), Signal(self._wanted_layout())
        goes_on = Signal()
        claim = self._examine(m, ring, wanted, goes_on)
        hit = self._tags(m, self._place(found), self._tag(found), wanted, claim)
        with m.If(goes_on):
            self._find(m, ring, found)
            self._look_up(m, ring, found, hit, wanted)
        self._take(m, ring)
        self._offer(m, ring)
        return m

    def _found_layout(self) -> data.StructLayout:
        """Return what is known of a candidate after its first step."""
        return data.StructLayout(
            {
                "valid": 1,
                "last": 1,
                "pair": range(len(PAIRS)),
                "line": 1,
                "first": TILE_BITS,
                "second": TILE_BITS,
                "block": TILE_BITS - LINE_SHIFT,
            }
        )

    def _wanted_layout(self) -> data.StructLayout:
        """Return what is known of it when it is examined; its index is the sum of the ``halves``."""
        return data.StructLayout(
            {
                "valid": 1,
                "last": 1,
                "missing": 1,
                "used_by": self._cubes,
                "pair": range(len(PAIRS)),
                "line": 1,
                "slot": 2 * self._window_bits,
                "place": self._place_bits,
                "tag": self._tag_bits,
                "halves": data.ArrayLayout(self._block_bits, 2),
            }
        )

    def _find(self, m: Module, ring: "_Ring", found) -> None:
        """Go to the next candidate of the cubes that wait: the tiles, or the line block, of one after the other."""
        pair, candidate = Signal(range(len(PAIRS))), Signal(range(CANDIDATES))
        waits, ends_pair, last = Signal(), Signal(), Signal()
        cube = Signal(Cube)
        of_cube = [getattr(cube, axis) for axis in AXES]
        m.d.comb += [
            cube.eq(ring.cubes[ring.walked]),
            waits.eq(ring.waits.bit_select(ring.walked, 1)),
            ends_pair.eq(candidate == CANDIDATES - 1),
            last.eq(ends_pair & (pair == len(PAIRS) - 1)),
        ]
        m.d.sync += [found.valid.eq(waits), found.last.eq(last), found.pair.eq(pair), found.line.eq(candidate[2])]
        with m.If(waits):
            m.d.sync += candidate.eq(Mux(ends_pair, 0, candidate + 1))
            with m.If(ends_pair):
                m.d.sync += pair.eq(Mux(last, 0, pair + 1))
            with m.If(last):
                m.d.sync += [ring.waits.bit_select(ring.walked, 1).eq(0), ring.walked.eq(ring.walked + 1)]
        with m.Switch(pair):
            for number, (first_axis, second_axis, line_axis) in enumerate(PAIRS):
                with m.Case(number):
                    m.d.sync += [
                        found.first.eq(of_cube[first_axis] + candidate[0]),
                        found.second.eq(of_cube[second_axis] + candidate[1]),
                        found.block.eq((of_cube[line_axis] + candidate[0]) >> LINE_SHIFT),
                    ]

    def _place(self, found) -> Value:
        """Return the place of a candidate's tag."""
        bits = self._window_bits
        line = Cat(found.block[:bits], found.pair, Const(0, bits - 2), Const(0b11, 2))
        return Mux(found.line, line, Cat(found.first[:bits], found.second[:bits], found.pair))

    def _tag(self, found) -> Value:
        """Return what tells a candidate from the others of its place."""
        bits = self._window_bits
        return Mux(found.line, found.block[bits:], Cat(found.first[bits:CUBE_BITS], found.second[bits:CUBE_BITS]))

    def _tags(self, m: Module, place: Value, tag: Value, wanted, claim: Signal) -> Value:
        """Return whether a place has a tag; with ``claim``, what is wanted gets its place.

        It has it before the next candidate is looked up for the last time: its request takes a cycle.
        """
        m.submodules.tags = tags = Memory(shape=self._tag_bits, depth=1 << self._place_bits, init=[])
        read, write = tags.read_port(domain="comb"), tags.write_port()
        valid = Signal(1 << self._place_bits)
        m.d.comb += [
            read.addr.eq(place),
            write.addr.eq(wanted.place),
            write.data.eq(wanted.tag),
            write.en.eq(claim),
        ]
        with m.If(claim):
            m.d.sync += valid.bit_select(wanted.place, 1).eq(1)
        return valid.bit_select(read.addr, 1) & (read.data == tag)

    def _look_up(self, m: Module, ring: "_Ring", found, hit: Value, wanted) -> None:
        """Find out whether the factor has the block, the buffer lacks it, and which cubes its slot may be read for."""
        bits = self._window_bits
        cubes = [getattr(self.scene.cubes, axis) for axis in AXES]
        grid = [getattr(self.scene.grid, axis) for axis in AXES]
        columns, rows, vertices = Signal(TILE_BITS), Signal(TILE_BITS), Signal.like(grid[0])
        with m.Switch(found.pair):
            for number, (first_axis, second_axis, line_axis) in enumerate(PAIRS):
                with m.Case(number):
                    m.d.comb += [
                        columns.eq(cubes[first_axis]),
                        rows.eq(cubes[second_axis]),
                        vertices.eq(grid[line_axis]),
                    ]
        of_line = Cat(Const(0, 4), found.block) < vertices
        of_plane = (found.first < columns) & (found.second < rows)
        exists = Mux(found.line, of_line, of_plane)
        first = Cat(found.first, Const(0, self._block_bits - TILE_BITS))
        halves = few_rows(m, found.second, columns, self._block_bits, [first])
        slot = Mux(found.line, found.block[:bits], Cat(found.first[:bits], found.second[:bits]))
        m.d.sync += [
            wanted.valid.eq(found.valid),
            wanted.last.eq(found.last),
            # Where the last vertex is in the same block as the first, that block is a hit by now.
            wanted.missing.eq(found.valid & exists & ~hit),
            wanted.used_by.eq(Cat(self._uses(m, cube, found, slot) for cube in ring.cubes)),
            wanted.pair.eq(found.pair),
            wanted.line.eq(found.line),
            wanted.slot.eq(slot),
            wanted.place.eq(self._place(found)),
            wanted.tag.eq(self._tag(found)),
            wanted.halves[0].eq(Mux(found.line, found.block, halves[0])),
            wanted.halves[1].eq(Mux(found.line, 0, halves[1])),
        ]

    def _uses(self, m: Module, cube, found, slot: Value) -> Signal:
        """Return whether a slot of a pair may be read for a cube."""
        window_bits = self._window_bits
        of_cube = [getattr(cube, axis) for axis in AXES]
        uses = Signal()
        with m.Switch(found.pair):
            for number, (first_axis, second_axis, line_axis) in enumerate(PAIRS):
                with m.Case(number):
                    first, second, along = of_cube[first_axis], of_cube[second_axis], of_cube[line_axis]
                    plane_uses = [
                        (slot[:window_bits] - first)[1:window_bits] == 0,
                        (slot[window_bits:] - second)[1:window_bits] == 0,
                    ]
                    line_uses = [
                        slot[:window_bits] == vertex[LINE_SHIFT : LINE_SHIFT + window_bits]
                        for vertex in (along, along + 1)
                    ]
                    with m.If(found.line):
                        m.d.comb += uses.eq(Cat(line_uses).any())
                    with m.Else():
                        m.d.comb += uses.eq(Cat(plane_uses).all())
        return uses

    def _examine(self, m: Module, ring: "_Ring", wanted, goes_on: Signal) -> Signal:
        """Claim and request a block that is not there, group after group; return whether one is claimed."""
        request = self.o_request.payload
        requesting, claim, last = Signal(), Signal(), Signal()
        blocks = ring.blocks[ring.examined]
        # The index of the first group is the sum of the halves times the groups.
        shifts = [bit for bit in range(self._groups.bit_length()) if self._groups >> bit & 1]
        rows = [(half << shift)[: self._block_bits] for half in wanted.halves for shift in shifts]
        index = sum(compress(m, rows))
        m.d.comb += [
            self.o_request.valid.eq(requesting),
            last.eq(request.to.group == self._groups - 1),
            claim.eq(wanted.missing & ~requesting & ~(ring.loads & wanted.used_by).any()),
            goes_on.eq(Mux(requesting, self.o_request.ready & last, ~wanted.missing)),
        ]
        with m.If(claim):
            m.d.sync += [
                requesting.eq(1),
                request.to.line.eq(wanted.line),
                request.to.pair.eq(wanted.pair),
                request.to.slot.eq(wanted.slot),
                request.to.group.eq(0),
                request.index.eq(index),
            ]
        with m.If(requesting & self.o_request.ready):
            m.d.sync += [
                blocks.eq(blocks + 1),
                request.to.group.eq(request.to.group + 1),
                request.index.eq(request.index + 1),
                requesting.eq(~last),
            ]
        with m.If(goes_on & wanted.valid & wanted.last):
            m.d.sync += [ring.loads.bit_select(ring.examined, 1).eq(1), ring.examined.eq(ring.examined + 1)]
        return claim

    def _take(self, m: Module, ring: "_Ring") -> None:
        """Take a cube where its place in the ring is free."""
        m.d.comb += self.i.ready.eq(~ring.holds.bit_select(ring.taken, 1))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                ring.cubes[ring.taken].eq(self.i.payload),
                ring.blocks[ring.taken].eq(0),
                ring.holds.bit_select(ring.taken, 1).eq(1),
                ring.waits.bit_select(ring.taken, 1).eq(1),
                ring.taken.eq(ring.taken + 1),
            ]

    def _offer(self, m: Module, ring: "_Ring") -> None:
        """Offer the token of the next cube when its blocks are there; let the oldest go when it is finished."""
        token = self.o.valid & self.o.ready
        m.d.comb += [
            self.o.payload.eq(ring.cubes[ring.accepted]),
            self.o.valid.eq(ring.loads.bit_select(ring.accepted, 1) & (ring.there >= ring.blocks[ring.accepted])),
        ]
        m.d.sync += [
            ring.accepted.eq(ring.accepted + token),
            ring.there.eq(ring.there + self.done - Mux(token, ring.blocks[ring.accepted], 0)),
        ]
        with m.If(self.finished):
            m.d.sync += [
                ring.holds.bit_select(ring.oldest, 1).eq(0),
                ring.loads.bit_select(ring.oldest, 1).eq(0),
                ring.oldest.eq(ring.oldest + 1),
            ]


class _Ring:
    """Registers of the cubes that are held, each in its place; a cube may need ``most`` blocks."""

    def __init__(self, places: int, most: int) -> None:
        self.cubes = Signal(data.ArrayLayout(Cube, places))
        self.blocks = Signal(data.ArrayLayout(range(most + 1), places))
        """Requested, by cube."""
        self.there = Signal(range(places * most + 1))
        """Blocks that are done, without those of accepted tokens."""
        self.holds, self.waits, self.loads = (Signal(places, name=name) for name in ("holds", "waits", "loads"))
        """By cube: it is held; not all its candidates have been found; all have been examined, and it may be read."""
        self.taken, self.walked, self.examined, self.accepted, self.oldest = (
            Signal(range(places), name=name) for name in ("taken", "walked", "examined", "accepted", "oldest")
        )
        """Places of the next cube to come, to find candidates of, to be examined, to be offered, and to be finished."""
