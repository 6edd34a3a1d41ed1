"""The simulator's frame controller against the RTL's, cycle for cycle."""

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from cosim.unit import run
from nerf.contract.config import AcceleratorConfig
from nerf.contract.registers import View
from rtl.frame_controller import FrameController
from rtl.payloads import TileLayouts, ViewRegisters
from sim import frame_controller
from sim.streams import STROBE, TILE, new
from sim.streams import stream as record_of
from tests.sim.helpers_front_end import sleeper, view_record
from tests.sim.replay import put, replay

CONFIG = AcceleratorConfig(tile=4)
WORKERS = {"load": "loaded", "set_up": "rays_ready", "walk": "tile_done"}
"""The strobes that start another block, and those by which it reports."""
TILES = TileLayouts(CONFIG).Tile


class Bench(wiring.Component):
    """The controller, and blocks that report when something arrives on their input stream.

    The outputs show the strobes and the tile; ``o_finished`` comes a cycle late. ``i_idle``: the bus is idle.
    """

    def __init__(self):
        super().__init__(
            {"view": In(ViewRegisters), "i": In(stream.Signature(1)), "i_idle": In(stream.Signature(1))}
            | {f"i_{name}": In(stream.Signature(1)) for name in WORKERS.values()}
            | {f"o_{name}": Out(stream.Signature(TILES)) for name in WORKERS}
            | {"o_finished": Out(stream.Signature(1))}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.controller = controller = FrameController(CONFIG)
        m.d.comb += [
            controller.view.eq(self.view),
            controller.start.eq(self.i.valid),
            self.i.ready.eq(1),
            controller.bus_idle.eq(self.i_idle.valid),
            self.i_idle.ready.eq(1),
        ]
        for start, report in WORKERS.items():
            works = Signal(name=f"{start}_works")
            shown, reported = getattr(self, f"o_{start}"), getattr(self, f"i_{report}")
            m.d.comb += [
                shown.valid.eq(getattr(controller, start)),
                shown.payload.eq(controller.tile),
                reported.ready.eq(works),
                getattr(controller, report).eq(works & reported.valid),
            ]
            with m.If(works & reported.valid):
                m.d.sync += works.eq(0)
            with m.If(getattr(controller, start)):
                m.d.sync += works.eq(1)
        m.d.sync += self.o_finished.valid.eq(controller.finished)
        return m


def simulate(view, inputs, counts, stalls, seed, skip):
    state, tile = frame_controller.new(CONFIG.tile), np.zeros(1, TILE)[0]
    names = ("start", *WORKERS, *WORKERS.values(), "finished")
    strobes = {name: np.zeros(1, STROBE)[0] for name in names}
    nothing = record_of("nothing")
    sources = {name: new(nothing) for name in inputs}
    sinks = {name: new(nothing if name == "o_finished" else record_of("x", "y", "last_x", "last_y")) for name in counts}
    works = dict.fromkeys(WORKERS, False)
    idle = np.zeros(1, np.int64)
    registers = view_record(view)

    def step_controller(now):
        workers = [strobes[name] for name in (*WORKERS, *WORKERS.values())]
        return frame_controller.step(
            now, state, strobes["start"], registers, tile, *workers, int(idle[0]), strobes["finished"]
        )

    maybe = sleeper(step_controller, [*strobes.values(), idle]) if skip else step_controller

    def offer(now):
        """Show the strobes of this cycle."""
        for name in (*WORKERS, "finished"):
            if strobes[name]["set"]:
                strobes[name]["set"] = 0
                put(sinks[f"o_{name}"], 0 if name == "finished" else tuple(tile))
                if name != "finished":
                    works[name] = True

    def step(now):
        shown = [name for name in WORKERS if works[name]]
        for name in shown:
            source = sources[f"i_{WORKERS[name]}"]
            if source["valid"] and now > started[name]:
                source["valid"], works[name] = 0, False
                strobes[WORKERS[name]]["set"] = 1
        strobes["start"]["set"], idle[0] = int(sources["i"]["valid"]), int(sources["i_idle"]["valid"])
        sources["i"]["valid"] = sources["i_idle"]["valid"] = 0
        maybe(now)
        return now + 1

    started = dict.fromkeys(WORKERS, -1)

    def offer_and_note(now):
        before = dict(works)
        offer(now)
        for name in WORKERS:
            if works[name] and not before[name]:
                started[name] = now

    return replay(
        step,
        {name: (sources[name], given) for name, given in inputs.items()},
        {name: (sinks[name], count) for name, count in counts.items()},
        stalls=stalls,
        seed=seed,
        offer=offer_and_note,
    )


@pytest.mark.parametrize("chance", [1.0, 0.3, 0.05])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (4, 4), (5, 8), (14, 7)])
def test_every_strobe_comes_in_the_same_cycle(width, height, chance):
    view = View({"window_width": width, "window_height": height})
    tiles = -(-width // CONFIG.tile) * -(-height // CONFIG.tile)
    inputs = {"i": [0], "i_idle": [0] * 5000, "i_loaded": [0]}
    inputs |= dict.fromkeys(("i_rays_ready", "i_tile_done"), [0] * tiles)
    counts = {"o_load": 1, "o_set_up": tiles, "o_walk": tiles, "o_finished": 1}
    stalls = (chance, 1.0)
    constants = {"view": {"window_width": width, "window_height": height}}
    hardware = run(Bench(), inputs, counts, constants=constants, stalls=stalls, seed=width)
    for skip in (False, True):
        cycles, payloads = simulate(view, inputs, counts, stalls, width, skip)
        assert cycles == hardware.cycles
        for name in ("o_load", "o_set_up", "o_walk"):
            assert payloads[name] == [(tile.x, tile.y, tile.last_x, tile.last_y) for tile in hardware.outputs[name]]
