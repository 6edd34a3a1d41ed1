"""Run a frame: reset the pipeline, load the scene, render tile after tile, report."""

from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.registers import ErrorCode
from rtl.payloads import TileLayouts, ViewRegisters

ERRORS = {
    "bus": ErrorCode.BUS,
    "header": ErrorCode.SCENE_HEADER,
    "config": ErrorCode.CONFIG,
    "tables": ErrorCode.TABLES,
    "row": ErrorCode.ROW,
    "record": ErrorCode.RECORD,
    "block_header": ErrorCode.BLOCK_HEADER,
    "block_payload": ErrorCode.BLOCK_PAYLOAD,
    "abort": ErrorCode.ABORTED,
}
"""Error strobes by name, and what each is reported as; when several come at once the first in this list counts."""


class FrameController(wiring.Component):
    """Sequence a frame. Tiles go row by row over the window.

    After an error no new request goes to the bus; when the outstanding ones have been answered, the pipeline is
    reset and the frame ends with the error's code: an error never hangs and never goes unreported.

    Members
    -------
    start : In(1)
        Strobe; ignored while busy.
    error_NAME : In(1)
        Strobes, see `ERRORS`.
    view : In(ViewRegisters)
    tile : Out
        The tile being rendered.
    load, set_up, walk : Out(1)
        Strobes that start the scene loader, the ray set-up and the occupancy walker.
    loaded, rays_ready, tile_done : In(1)
        Strobes: each of these has finished; ``tile_done``: the tile buffer has emptied.
    bus_idle : In(1)
    drop : Out(1)
        The bus masters shall drop everything.
    pipeline_reset : Out(1)
    busy : Out(1)
    finished : Out(1)
        Strobe at the end, with ``code``.
    """

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self.cfg = cfg
        super().__init__(
            {
                "start": In(1),
                "view": In(ViewRegisters),
                "tile": Out(TileLayouts(cfg).Tile),
                "load": Out(1),
                "set_up": Out(1),
                "walk": Out(1),
                "loaded": In(1),
                "rays_ready": In(1),
                "tile_done": In(1),
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
        size, tile = self.cfg.tile, self.tile
        right, below = self.view.window_width - tile.x, self.view.window_height - tile.y
        m.d.comb += [
            tile.last_x.eq(Mux(right < size, right, size) - 1),
            tile.last_y.eq(Mux(below < size, below, size) - 1),
        ]
        errors = [getattr(self, f"error_{name}") for name in ERRORS]

        failed = self.code != ErrorCode.NONE

        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                m.d.sync += [tile.x.eq(0), tile.y.eq(0), self.code.eq(ErrorCode.NONE)]
                with m.If(self.start):
                    m.next = "RESET"
            with m.State("RESET"):
                m.d.comb += self.pipeline_reset.eq(1)
                m.next = "LOAD"
            with m.State("LOAD"):
                m.d.comb += self.load.eq(1)
                m.next = "LOADING"
            with m.State("LOADING"):
                with m.If(self.loaded):
                    m.next = "SET_UP"
                with m.If(failed):
                    m.next = "DRAIN"
            with m.State("SET_UP"):
                m.d.comb += self.set_up.eq(1)
                m.next = "SETTING_UP"
            with m.State("SETTING_UP"):
                with m.If(self.rays_ready):
                    m.next = "WALK"
                with m.If(failed):
                    m.next = "DRAIN"
            with m.State("WALK"):
                m.d.comb += self.walk.eq(1)
                m.next = "RENDERING"
            with m.State("RENDERING"):
                with m.If(self.tile_done):
                    m.next = "SET_UP"
                    m.d.sync += tile.x.eq(tile.x + size)
                    with m.If(right <= size):
                        m.d.sync += [tile.x.eq(0), tile.y.eq(tile.y + size)]
                        with m.If(below <= size):
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
