"""The simulator's frame controller against the RTL's, cycle for cycle."""

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from cosim.unit import run, shared
from rtl.control.frame_controller import FrameController
from sim.control import frame_controller
from sim.parts.activity import NEVER
from sim.parts.streams import STROBE, new
from sim.parts.streams import stream as record_of
from tests.sim.replay import put, replay
from tests.sim.samples.helpers_front_end import sleeper

WORKERS = {"load": "loaded", "render": "rendered"}
"""The strobes that start another block, and those by which it reports."""
LATE = ("render", "finished")
"""Strobes that are shown a cycle late."""


class Bench(wiring.Component):
    """The controller, and blocks that report when something arrives on their input stream.

    The outputs show the strobes. ``i_idle``: the bus is idle.
    """

    def __init__(self):
        super().__init__(
            {name: In(stream.Signature(1)) for name in ("i", "i_idle", "i_loaded", "i_rendered")}
            | {name: Out(stream.Signature(1)) for name in ("o_load", "o_render", "o_finished")}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.controller = controller = FrameController()
        m.d.comb += [
            controller.start.eq(self.i.valid),
            self.i.ready.eq(1),
            controller.bus_idle.eq(self.i_idle.valid),
            self.i_idle.ready.eq(1),
        ]
        for start, report in WORKERS.items():
            works = Signal(name=f"{start}_works")
            reported = getattr(self, f"i_{report}")
            m.d.comb += [reported.ready.eq(works), getattr(controller, report).eq(works & reported.valid)]
            with m.If(works & reported.valid):
                m.d.sync += works.eq(0)
            with m.If(getattr(controller, start)):
                m.d.sync += works.eq(1)
        for name in (*WORKERS, "finished"):
            shown = m.d.sync if name in LATE else m.d.comb
            shown += getattr(self, f"o_{name}").valid.eq(getattr(controller, name))
        return m


def simulate(inputs, counts, stalls, seed, skip):
    state = frame_controller.new()
    strobes = {name: new(STROBE) for name in ("start", *WORKERS, *WORKERS.values(), "finished")}
    sources = {name: new(record_of("nothing")) for name in inputs}
    sinks = {name: new(record_of("nothing")) for name in counts}
    works_from = dict.fromkeys(WORKERS, NEVER)
    idle = np.zeros(1, np.int64)

    def step_controller(now):
        *workers, finished = list(strobes.values())
        return frame_controller.step(now, state, *workers, int(idle[0]), finished)

    maybe = sleeper(step_controller, [*strobes.values(), idle]) if skip else step_controller

    def offer(now):
        """Show the strobes."""
        for name in (*WORKERS, "finished"):
            if strobes[name]["set"]:
                strobes[name]["set"] = 0
                put(sinks[f"o_{name}"], 0)
                works_from[name] = now + (name not in LATE)

    def step(now):
        for name, report in WORKERS.items():
            source = sources[f"i_{report}"]
            if source["valid"] and now >= works_from[name]:
                source["valid"], works_from[name] = 0, NEVER
                strobes[report]["set"] = 1
        strobes["start"]["set"], idle[0] = int(sources["i"]["valid"]), int(sources["i_idle"]["valid"])
        sources["i"]["valid"] = sources["i_idle"]["valid"] = 0
        maybe(now)
        return now + 1

    return replay(
        step,
        {name: (sources[name], given) for name, given in inputs.items()},
        {name: (sinks[name], count) for name, count in counts.items()},
        stalls=stalls,
        seed=seed,
        offer=offer,
    )


@pytest.mark.parametrize("chance", [1.0, 0.3, 0.05])
@pytest.mark.parametrize("seed", range(4))
def test_every_strobe_comes_in_the_same_cycle(seed, chance):
    inputs = {"i": [0], "i_idle": [0] * 1000, "i_loaded": [0], "i_rendered": [0]}
    counts = {"o_load": 1, "o_render": 1, "o_finished": 1}
    stalls = (chance, 1.0)
    hardware = run(shared(Bench), inputs, counts, stalls=stalls, seed=seed)
    for skip in (False, True):
        cycles, _ = simulate(inputs, counts, stalls, seed, skip)
        assert cycles == hardware.cycles
