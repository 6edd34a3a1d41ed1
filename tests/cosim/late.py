"""The accelerator with every block in a wrapper that can hold one of its outputs back by a cycle: mutants of the RTL.

One build serves all mutants: the input ``strap`` of the top chooses one output, or with 0 none, for a whole run.
"""

import functools
from collections.abc import Mapping
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from rtl.accelerator import Accelerator
from rtl.control.frame_controller import FrameController
from rtl.control.scene_loader import SceneLoader
from rtl.control.tile_scheduler import TileScheduler
from rtl.factors.interpolator import Interpolator
from rtl.samples.cube_list import CubeList
from rtl.samples.ray_setup import RaySetup
from rtl.shading.tile_buffer import TileBuffer
from rtl.verilog.export import TOP, describe, ports_of

STROBES = {
    FrameController: ("load", "render", "finished"),
    TileScheduler: ("set_up", "walk", "done"),
    CubeList: ("done",),
    SceneLoader: ("done",),
    RaySetup: ("done",),
    TileBuffer: ("done",),
    Interpolator: ("finished",),
}
"""Outputs that another block waits for and that are no streams."""
UNTIMED = {
    "registers": "a frame's first cycle is the one in which they start it",
    "ray_buffer": "answers a look-up in the next cycle: nobody waits for it",
    "density_buffer": "likewise",
    "appearance_buffer": "likewise",
}
"""Blocks without a mutant, and why: in a frame, no other block waits for them."""
UNHEARD = {
    "scene_loader.table": "nobody waits for a table",
    "read_master.axi.aw": "the channel is the other master's",
    "read_master.axi.w": "likewise",
    "write_master.axi.ar": "likewise",
    "tile_scheduler.done": "the frame ends when the last write has been answered, later than that",
    "cube_list.writes": "the end of the walk comes so much later that everything has long been written",
}
"""Streams without a mutant, and why: no transfer comes later with them."""
STRAP_BITS = 8


def ports(component: wiring.Component) -> dict[str, tuple[Any, Any]]:
    """Return flow and value of every port by its dotted name."""
    return {
        ".".join(map(str, path)): (member.flow, value)
        for path, member, value in component.signature.flatten(component)
    }  # fmt: skip


def connect_through(m: Module, outside: wiring.Component, inside: wiring.Component) -> None:
    """Connect every port of a component with its twin of the component round it."""
    twins = ports(outside)
    for name, (flow, value) in ports(inside).items():
        twin = twins[name][1]
        m.d.comb += twin.eq(value) if flow == Out else value.eq(twin)


def outputs(component: wiring.Component) -> list[str]:
    """Return the output streams (with a ``valid`` and a ``ready``, those of AXI4 too) and the strobes of a block."""
    flows = {name: flow for name, (flow, _) in ports(component).items()}
    streams = [
        name.removesuffix("valid").removesuffix(".")
        for name, flow in flows.items()
        if name.endswith("valid") and flow == Out and flows.get(f"{name.removesuffix('valid')}ready") == In
    ]
    return [*streams, *STROBES.get(type(component), ())]


class Late(wiring.Component):
    """A block whose outputs can be a cycle late.

    A late stream offers each payload one cycle after the block does, and so keeps the rules of streams. A late strobe
    comes a cycle after the block's.

    Parameters
    ----------
    block : wiring.Component
    late : dict of Value
        Per output, whether it is late.
    """

    def __init__(self, block: wiring.Component, late: Mapping[str, Value]) -> None:
        self._block, self._late = block, late
        super().__init__(block.signature)

    def elaborate(self, platform) -> Module:
        """Return the block and what holds its outputs back."""
        m = Module()
        m.submodules.block = self._block
        connect_through(m, self, self._block)
        inside, outside = ports(self._block), ports(self)
        for name, late in self._late.items():
            if name in inside:
                self._delay(m, late, inside[name][1], outside[name][1])
                continue
            stem = name if f"{name}valid" in inside else f"{name}."
            valid, ready = inside[f"{stem}valid"][1], outside[f"{stem}ready"][1]
            waited, hold = Signal(name=f"{name}_waited"), Signal(name=f"{name}_hold")
            m.d.comb += [
                hold.eq(late & valid & ~waited),
                outside[f"{stem}valid"][1].eq(valid & ~hold),
                inside[f"{stem}ready"][1].eq(ready & ~hold),
            ]
            m.d.sync += waited.eq(valid & (hold | ~ready))
        return m

    def _delay(self, m: Module, late: Value, strobe: Signal, twin: Signal) -> None:
        before = Signal()
        m.d.sync += before.eq(strobe)
        m.d.comb += twin.eq(Mux(late, before, strobe))


class _Blocks(Accelerator):
    """The accelerator of wrapped blocks.

    ``strap``: number of the late output; ``names``: of all blocks; ``late``: of the outputs, in the order of their
    numbers, both known after elaboration.
    """

    def __init__(self, cfg: AcceleratorConfig) -> None:
        super().__init__(cfg)
        self.strap = Signal(STRAP_BITS)
        self.names: list[str] = []
        self.late: list[str] = []

    def block(self, name: str, component):
        self.names.append(name)
        late = {}
        for output in outputs(component):
            if name not in UNTIMED and f"{name}.{output}" not in UNHEARD:
                self.late.append(f"{name}.{output}")
                late[output] = self.strap == len(self.late)
        return Late(component, late) if late else component


class LateAccelerator(wiring.Component):
    """The accelerator with one more input, ``strap``: the number of the output that is late, counted from 1."""

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self.blocks = _Blocks(cfg)
        super().__init__({**self.blocks.signature.members, "strap": In(STRAP_BITS)})

    def elaborate(self, platform) -> Module:
        """Return the accelerator of wrapped blocks."""
        m = Module()
        m.submodules.blocks = self.blocks
        connect_through(m, self, self.blocks)
        m.d.comb += self.blocks.strap.eq(self.strap)
        return m


@functools.cache
def late_design(config: AcceleratorConfig) -> tuple[str, dict[str, Any], list[str], list[str]]:
    """Return RTLIL, sidecar, blocks, and the outputs that can be late, in the order of their numbers."""
    top = LateAccelerator(config)
    text = rtlil.convert(top, name=TOP, emit_src=False)
    return text, describe(config, ports_of(top)), top.blocks.names, top.blocks.late
