"""Run a frame: reset the pipeline, load the scene, have the tiles rendered, report."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.registers import ErrorCode

ERRORS = {
    "bus": ErrorCode.BUS,
    "header": ErrorCode.SCENE_HEADER,
    "config": ErrorCode.CONFIG,
    "tables": ErrorCode.TABLES,
    "row": ErrorCode.ROW,
    "record": ErrorCode.RECORD,
    "block_header": ErrorCode.BLOCK_HEADER,
    "block_payload": ErrorCode.BLOCK_PAYLOAD,
    "list": ErrorCode.LIST,
    "abort": ErrorCode.ABORTED,
}
"""Error strobes by name, and what each is reported as; when several come at once the first in this list counts."""


class FrameController(wiring.Component):
    """Sequence a frame.

    After an error no new request goes to the bus; when the outstanding ones have been answered, the pipeline is
    reset and the frame ends with the error's code: an error never hangs and never goes unreported.

    Members
    -------
    start : In(1)
        Strobe; ignored while busy.
    error_NAME : In(1)
        Strobes, see `ERRORS`.
    load, render : Out(1)
        Strobes that start the scene loader; the occupancy walker and the tile scheduler.
    loaded, rendered : In(1)
        Strobes: each of these has finished.
    bus_idle : In(1)
    drop : Out(1)
        The bus masters shall drop everything.
    pipeline_reset : Out(1)
    busy : Out(1)
    finished : Out(1)
        Strobe at the end, with ``code``.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "load": Out(1),
                "render": Out(1),
                "loaded": In(1),
                "rendered": In(1),
                "bus_idle": In(1),
                "drop": Out(1),
                "pipeline_reset": Out(1),
                "busy": Out(1),
                "finished": Out(1),
                "code": Out(8),
            }
            | {f"error_{name}": In(1) for name in ERRORS}
        )

    def elaborate(self, platform) -> Module:
        """Return the sequence of a frame."""
        m = Module()
        errors = [getattr(self, f"error_{name}") for name in ERRORS]

        failed = self.code != ErrorCode.NONE

        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                m.d.sync += self.code.eq(ErrorCode.NONE)
                with m.If(self.start):
                    m.next = "RESET"
            with m.State("RESET"):
                m.d.comb += self.pipeline_reset.eq(1)
                m.next = "LOAD"
            with m.State("LOAD"):
                m.d.comb += self.load.eq(1)
                m.next = "LOADING"
            with m.State("LOADING"):
                m.d.comb += self.render.eq(self.loaded)
                with m.If(self.loaded):
                    m.next = "RENDERING"
                with m.If(failed):
                    m.next = "DRAIN"
            with m.State("RENDERING"):
                with m.If(self.rendered):
                    m.next = "FINISH"
                with m.If(failed):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.comb += self.drop.eq(1)
                with m.If(self.bus_idle):
                    m.d.comb += self.pipeline_reset.eq(1)
                    m.next = "FINISH"
            with m.State("FINISH"), m.If(self.bus_idle):
                m.d.comb += self.finished.eq(1)
                m.next = "IDLE"
        with m.If((sum(errors) != 0) & self.busy & ~failed):
            for strobe, code in reversed(list(zip(errors, ERRORS.values(), strict=True))):
                with m.If(strobe):
                    m.d.sync += self.code.eq(code)
        return m
