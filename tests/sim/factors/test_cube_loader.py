"""The simulator's cube loader against the RTL's, cycle for cycle."""

from dataclasses import replace
from itertools import chain

import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, run, shared
from nerf.contract.registers import AXES
from nerf.contract.scene_image import cubes_of
from rtl.factors.cube_loader import CubeLoader
from rtl.payloads import BlockLayouts, Cube, SceneRegisters
from sim.control.registers import SCENE
from sim.factors import cube_loader
from sim.parts.streams import BLOCK_REQUEST, CUBE, STROBE, VECTOR, new
from tests.rtl.factors.test_cube_loader import expected_requests, jumps, walk
from tests.sim.replay import replay
from tests.sizes import LARGE, SMALL, TINY

LARGEST = (384, 640, 640)
HARSH = [*STALLS[1:], (0.05, 0.2)]
CASES = {
    "walk": ((13, 9, 20), walk((13, 9, 20))[:20]),
    "corners": (LARGEST, [(95, 159, 159), (0, 0, 0), (94, 158, 3), (31, 63, 95), *jumps(LARGEST, 6, 1)]),
    "jumps": ((70, 65, 64), jumps((70, 65, 64), 10, 2)),
    "same": ((2, 2, 2), [(0, 0, 0)] * 12),
}


class Harness(wiring.Component):
    """A loader; blocks are there ``fetch`` cycles after their request, cubes are done ``hold`` after their token."""

    def __init__(self, cfg, kind, fetch, hold):
        self._cfg, self._kind, self._fetch, self._hold = cfg, kind, fetch, hold
        super().__init__(
            {
                "i": In(stream.Signature(Cube)),
                "o": Out(stream.Signature(Cube)),
                "o_request": Out(stream.Signature(BlockLayouts(cfg).BlockRequest)),
                "scene": In(SceneRegisters),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.loader = loader = CubeLoader(self._cfg, self._kind)
        m.d.comb += loader.scene.eq(self.scene)
        for name in ("i", "o", "o_request"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(loader, name))
        for source, strobe, delay in (
            (self.o_request, loader.done, self._fetch),
            (self.o, loader.finished, self._hold),
        ):
            late = Signal(delay)
            m.d.sync += late.eq(Cat(source.valid & source.ready, late))
            m.d.comb += strobe.eq(late[-1])
        return m


def simulate(cfg, kind, fetch, hold, grid, cubes, counts, stalls, seed, skip):
    state = cube_loader.new(cfg, kind == "appearance")
    i, o, request, vector, finished = new(CUBE), new(CUBE), new(BLOCK_REQUEST), new(VECTOR), new(STROBE)
    vector["appearance"], vector["block_last"] = state["appearance"], 1
    scene = new(SCENE)
    scene["grid"], scene["cubes"] = grid, cubes_of(grid)
    offered, done, ended = {}, set(), set()

    def offer(now):
        offered["request"], offered["token"] = request["valid"], o["valid"]

    def step(now):
        if offered["request"] and not request["valid"]:
            done.add(now + fetch)
        if offered["token"] and not o["valid"]:
            ended.add(now + hold)
        vector["valid"], finished["set"] = now in done, now in ended
        wake = cube_loader.step(now, state, i, o, finished, request, vector, scene)
        assert not finished["set"]
        return min([wake, *(cycle for cycle in done | ended if cycle > now)])

    return replay(
        step,
        {"i": (i, cubes)},
        {"o": (o, len(cubes)), "o_request": (request, counts)},
        stalls=stalls,
        seed=seed,
        offer=offer,
        skip=skip,
    )


@pytest.mark.parametrize(("fetch", "hold"), [(1, 1), (5, 60), (50, 2)])
@pytest.mark.parametrize("kind", TINY.groups)
@pytest.mark.parametrize("case", CASES)
def test_every_transfer_comes_in_the_same_cycle(case, kind, fetch, hold):
    compare(TINY, case, kind, fetch, hold)


@pytest.mark.parametrize(("case", "kind"), [("jumps", "density"), ("corners", "appearance")])
@pytest.mark.parametrize("cfg", [SMALL, replace(SMALL, density_window_scale=4), LARGE])
def test_other_windows_and_queues(cfg, case, kind):
    compare(cfg, case, kind, 5, 60)


def test_a_cube_that_comes_while_the_last_block_of_another_is_examined():
    """Two do: the steps are empty for a cycle behind that block."""
    cycles = compare(TINY, "same", "appearance", 1, 13, [(0.04, 1.0)])
    comes, tokens = cycles["i"][1:], cycles["o"]
    assert sum(come == token - 2 for come, token in zip(comes, tokens, strict=False)) == 2


def compare(cfg, case, kind, fetch, hold, other_stalls=()):
    grid, cubes = CASES[case]
    requests = [*chain.from_iterable(expected_requests(cubes, grid, cfg.groups[kind], cfg.windows[kind]))]
    scene = {
        "grid": dict(zip(AXES, grid, strict=True)),
        "cubes": dict(zip(AXES, cubes_of(grid), strict=True)),
    }
    for stalls in other_stalls or ((1.0, 1.0), HARSH[(fetch + cfg.groups[kind]) % len(HARSH)]):
        hardware = run(
            shared(Harness, cfg, kind, fetch, hold),
            {"i": [dict(zip(AXES, cube, strict=True)) for cube in cubes]},
            {"o": len(cubes), "o_request": len(requests)},
            {"scene": scene},
            stalls=stalls,
            seed=hold,
        )
        for skip in (False, True):
            cycles, payloads = simulate(cfg, kind, fetch, hold, grid, cubes, len(requests), stalls, hold, skip)
            assert payloads["o"] == cubes
            assert payloads["o_request"] == requests
            assert cycles == hardware.cycles
    return cycles
