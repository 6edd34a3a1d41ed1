"""The cube loader: which factor blocks a cube needs, and which of them are in the cube buffer already."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nerf.contract.config import CUBE, AcceleratorConfig
from nerf.contract.registers import AXES
from nerf.contract.scene_image import PAIRS
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

    Latency: `LATENCY` cycles from an accepted cube to its token if all blocks are there; each request adds a cycle.
    Throughput: a cube in `CYCLES`, and a cycle for each request.

    Parameters
    ----------
    cfg : AcceleratorConfig
    groups : int
        Component groups.

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

    CYCLES = len(PAIRS) * CANDIDATES + 1
    LATENCY = CYCLES + 1

    def __init__(self, cfg: AcceleratorConfig, groups: int) -> None:
        self._groups, self._group_bits = groups, cfg.group_bits
        self._block_bits = BlockLayouts(cfg).block
        self._cubes = cfg.cube_queue
        self._window_bits = cfg.window_bits
        self._tag_bits = 2 * (CUBE_BITS - cfg.window_bits)
        self._place_bits = 2 * cfg.window_bits + 2
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
        """Return the ring of cubes, the walk over candidates, the tags and the counts of blocks."""
        m = Module()
        ring = _Ring(self._cubes, len(PAIRS) * CANDIDATES * self._groups)
        walk = _Walk(self._group_bits)
        wanted = self._candidate(m, walk.cube, walk.pair, walk.candidate)
        claim = Signal()
        hit, busy = self._look_up(m, ring, walk, wanted, claim)
        self._take(m, ring)
        self._offer(m, ring)
        self._examine(m, ring, walk, wanted, claim, hit, busy)
        return m

    def _look_up(self, m: Module, ring: "_Ring", walk: "_Walk", wanted, claim: Signal) -> tuple[Signal, Signal]:
        """Return whether the block is there, and whether its slot may still be read; with ``claim`` it gets the tag."""
        m.submodules.tags = tags = Memory(shape=self._tag_bits, depth=1 << self._place_bits, init=[])
        tag_read, tag_write = tags.read_port(domain="comb"), tags.write_port()
        valid = Signal(1 << self._place_bits)
        hit = Signal()
        busy = Signal()
        uses = [self._uses(m, ring.cubes[number], walk.pair, wanted.line, wanted.slot) for number in range(self._cubes)]
        m.d.comb += [
            tag_read.addr.eq(wanted.place),
            hit.eq(valid.bit_select(wanted.place, 1) & (tag_read.data == wanted.tag)),
            busy.eq((ring.loads & Cat(uses)).any()),
            tag_write.addr.eq(wanted.place),
            tag_write.data.eq(wanted.tag),
            tag_write.en.eq(claim),
        ]
        with m.If(claim):
            m.d.sync += valid.bit_select(wanted.place, 1).eq(1)
        return hit, busy

    def _take(self, m: Module, ring: "_Ring") -> None:
        """Take a cube where its place in the ring is free."""
        m.d.comb += self.i.ready.eq(~(ring.waits | ring.loads).bit_select(ring.taken, 1))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                ring.cubes[ring.taken].eq(self.i.payload),
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
            m.d.sync += [ring.loads.bit_select(ring.oldest, 1).eq(0), ring.oldest.eq(ring.oldest + 1)]

    def _examine(self, m: Module, ring: "_Ring", walk: "_Walk", wanted, claim, hit, busy) -> None:
        """Look at candidate after candidate of a cube; claim and request those that are not there."""
        request, group = self.o_request.payload, walk.group
        m.d.comb += request.to.group.eq(group)
        with m.FSM():
            with m.State("REST"), m.If(ring.waits.bit_select(ring.examined, 1)):
                m.d.sync += [
                    walk.cube.eq(ring.cubes[ring.examined]),
                    ring.blocks[ring.examined].eq(0),
                    walk.pair.eq(0),
                    walk.candidate.eq(0),
                ]
                m.next = "EXAMINE"
            with m.State("EXAMINE"):
                with m.If(~wanted.exists | hit):
                    self._next_candidate(m, ring, walk)
                with m.Elif(~busy):
                    m.d.comb += claim.eq(1)
                    m.d.sync += [
                        request.to.line.eq(wanted.line),
                        request.to.pair.eq(walk.pair),
                        request.to.slot.eq(wanted.slot),
                        request.index.eq(wanted.index),
                        group.eq(0),
                    ]
                    m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += self.o_request.valid.eq(1)
                with m.If(self.o_request.ready):
                    m.d.sync += [
                        ring.blocks[ring.examined].eq(ring.blocks[ring.examined] + 1),
                        group.eq(group + 1),
                        request.index.eq(request.index + 1),
                    ]
                    with m.If(group == self._groups - 1):
                        self._next_candidate(m, ring, walk)

    def _next_candidate(self, m: Module, ring: "_Ring", walk: "_Walk") -> None:
        """Go on to the next candidate; behind the last of all pairs the cube has been examined."""
        m.d.sync += walk.candidate.eq(walk.candidate + 1)
        m.next = "EXAMINE"
        with m.If(walk.candidate == CANDIDATES - 1):
            m.d.sync += [walk.candidate.eq(0), walk.pair.eq(walk.pair + 1)]
            with m.If(walk.pair == len(PAIRS) - 1):
                m.d.sync += [
                    ring.waits.bit_select(ring.examined, 1).eq(0),
                    ring.loads.bit_select(ring.examined, 1).eq(1),
                    ring.examined.eq(ring.examined + 1),
                ]
                m.next = "REST"

    def _candidate(self, m: Module, cube, pair, candidate):
        """Return the block to look at: where it goes, its tag and index, and whether the factor has it."""
        window_bits = self._window_bits
        wanted = Signal(
            data.StructLayout(
                {
                    "exists": 1,
                    "line": 1,
                    "slot": 2 * window_bits,
                    "place": self._place_bits,
                    "tag": self._tag_bits,
                    "index": self._block_bits,
                }
            )
        )
        of_cube = [getattr(cube, axis) for axis in AXES]
        cubes = [getattr(self.scene.cubes, axis) for axis in AXES]
        grid = [getattr(self.scene.grid, axis) for axis in AXES]
        first = Signal(TILE_BITS)
        second = Signal(TILE_BITS)
        along = Signal(TILE_BITS)
        block = Signal(TILE_BITS - LINE_SHIFT)
        columns = Signal(TILE_BITS)
        rows = Signal(TILE_BITS)
        vertices = Signal.like(grid[0])
        with m.Switch(pair):
            for number, (first_axis, second_axis, line_axis) in enumerate(PAIRS):
                with m.Case(number):
                    m.d.comb += [
                        first.eq(of_cube[first_axis] + candidate[0]),
                        second.eq(of_cube[second_axis] + candidate[1]),
                        along.eq(of_cube[line_axis] + candidate[0]),
                        columns.eq(cubes[first_axis]),
                        rows.eq(cubes[second_axis]),
                        vertices.eq(grid[line_axis]),
                    ]
        m.d.comb += [block.eq(along >> LINE_SHIFT), wanted.line.eq(candidate[2])]
        with m.If(wanted.line):
            # Where the last vertex is in the same block as the first, that block is a hit by now.
            m.d.comb += [
                wanted.exists.eq(Cat(Const(0, 4), block) < vertices),
                wanted.slot.eq(block[:window_bits]),
                wanted.place.eq(Cat(block[:window_bits], pair, Const(0, window_bits - 2), Const(0b11, 2))),
                wanted.tag.eq(block[window_bits:]),
                wanted.index.eq(block * self._groups),
            ]
        with m.Else():
            m.d.comb += [
                wanted.exists.eq((first < columns) & (second < rows)),
                wanted.slot.eq(Cat(first[:window_bits], second[:window_bits])),
                wanted.place.eq(Cat(first[:window_bits], second[:window_bits], pair)),
                wanted.tag.eq(Cat(first[window_bits:CUBE_BITS], second[window_bits:CUBE_BITS])),
                wanted.index.eq((second * columns + first) * self._groups),
            ]
        return wanted

    def _uses(self, m: Module, cube, pair, line, slot) -> Signal:
        """Return whether a slot of a pair may be read for a cube."""
        window_bits = self._window_bits
        of_cube = [getattr(cube, axis) for axis in AXES]
        uses = Signal()
        with m.Switch(pair):
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
                    with m.If(line):
                        m.d.comb += uses.eq(Cat(line_uses).any())
                    with m.Else():
                        m.d.comb += uses.eq(Cat(plane_uses).all())
        return uses


class _Ring:
    """Registers of the cubes that are held, each in its place; a cube may need ``most`` blocks."""

    def __init__(self, places: int, most: int) -> None:
        self.cubes = Signal(data.ArrayLayout(Cube, places))
        self.blocks = Signal(data.ArrayLayout(range(most + 1), places))
        """Requested, by cube."""
        self.there = Signal(range(places * most + 1))
        """Blocks that are done, without those of accepted tokens."""
        self.waits = Signal(places)
        """By cube: it has been taken, and not yet examined to its end."""
        self.loads = Signal(places)
        """By cube: it has been examined, and may still be read."""
        self.taken, self.examined, self.accepted, self.oldest = (
            Signal(range(places), name=name) for name in ("taken", "examined", "accepted", "oldest")
        )
        """Places of the next cube to come, to be examined, to be offered, and to be finished."""


class _Walk:
    """Registers of the block that is looked at: a candidate of a pair of a cube, and its component group."""

    def __init__(self, group_bits: int) -> None:
        self.cube = Signal(Cube)
        self.pair = Signal(range(len(PAIRS)))
        self.candidate = Signal(range(CANDIDATES))
        self.group = Signal(group_bits)
