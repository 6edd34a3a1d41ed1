"""Read the scene image's device header and tables, check them, and hold the header for the frame."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import CUBE, AcceleratorConfig
from nerf.contract.scene_image import BEAT, HEADER_WORDS, MAGIC, VERSION, WORDS
from rtl.payloads import ReadPort, SceneRegisters, TableWrite

TABLE_BURST = 16
"""Beats of a table read: 256 bytes, so that aligned bursts cross no page."""
WORDS_PER_BEAT = BEAT // 4


class SceneLoader(wiring.Component):
    """Load a scene's constants.

    Latency: one burst of 16 beats, 1 cycle of checks, then one beat of tables a cycle in bursts of 16, one at a time.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    start : In(1)
        Strobe.
    scene_base : In
        Byte address of the image, a multiple of 4096.
    memory : Out(ReadPort)
    scene : Out(SceneRegisters)
        Valid from ``done`` on.
    table : Out(stream)
        ``TableWrite``; its users are always ready.
    done : Out(1)
        Strobe: all loaded and right.
    error_header, error_config, error_tables : Out(1)
        Strobes: wrong magic, version or checksum; another configuration's image; wrong checksum of the tables.
    """

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self.cfg = cfg
        super().__init__(
            {
                "start": In(1),
                "scene_base": In(cfg.address_width),
                "memory": Out(ReadPort(cfg)),
                "scene": Out(SceneRegisters),
                "table": Out(stream.Signature(TableWrite)),
                "done": Out(1),
                "error_header": Out(1),
                "error_config": Out(1),
                "error_tables": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the sequence of reads and checks."""
        m = Module()
        words = Signal(data.ArrayLayout(32, HEADER_WORDS))
        word = {name: words[index] for index, name in enumerate(WORDS)}
        total = Signal(32)
        beat = Signal(16)
        request, beats = self.memory.request, self.memory.beats
        arriving = beats.payload.data
        arriving_sum = sum(arriving[32 * n : 32 * n + 32] for n in range(WORDS_PER_BEAT))
        self._connect_scene(m, word)

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [beat.eq(0), total.eq(0)]
                with m.If(self.start):
                    m.next = "REQUEST_HEADER"
            with m.State("REQUEST_HEADER"):
                m.d.comb += [
                    request.valid.eq(1),
                    request.payload.address.eq(self.scene_base),
                    request.payload.last_beat.eq(HEADER_WORDS // WORDS_PER_BEAT - 1),
                ]
                with m.If(request.ready):
                    m.next = "READ_HEADER"
            with m.State("READ_HEADER"):
                m.d.comb += beats.ready.eq(1)
                with m.If(beats.valid):
                    # The header passes through a shift register of beats.
                    m.d.sync += [
                        Value.cast(words).eq(Cat(Value.cast(words)[128:], arriving)),
                        total.eq(total + arriving_sum),
                    ]
                    with m.If(beats.payload.last):
                        m.next = "CHECK_HEADER"
            with m.State("CHECK_HEADER"):
                m.d.sync += total.eq(0)
                m.next = "REQUEST_TABLES"
                with m.If((word["magic"] != MAGIC) | (word["version"] != VERSION) | (total != 0)):
                    m.d.comb += self.error_header.eq(1)
                    m.next = "IDLE"
                with m.Elif(word["config_digest"] != self.cfg.digest_word):
                    m.d.comb += self.error_config.eq(1)
                    m.next = "IDLE"
            with m.State("REQUEST_TABLES"):
                remaining = word["tables_beats"] - beat
                # The section starts on a beat: the first burst ends on a 256-byte boundary, as all do after it.
                to_boundary = TABLE_BURST - (word["tables_offset"][4:8] + beat)[:4]
                m.d.comb += [
                    request.valid.eq(1),
                    request.payload.address.eq(self.scene_base + word["tables_offset"] + (beat << 4)),
                    request.payload.last_beat.eq(Mux(remaining < to_boundary, remaining, to_boundary) - 1),
                ]
                with m.If(request.ready):
                    m.next = "READ_TABLES"
            with m.State("READ_TABLES"):
                m.d.comb += [
                    beats.ready.eq(1),
                    self.table.valid.eq(beats.valid),
                    self.table.payload.beat.eq(beat),
                    self.table.payload.data.eq(arriving),
                ]
                with m.If(beats.valid):
                    m.d.sync += [beat.eq(beat + 1), total.eq(total + arriving_sum)]
                    with m.If(beats.payload.last):
                        m.next = "REQUEST_TABLES"
                        with m.If(beat + 1 == word["tables_beats"]):
                            m.next = "CHECK_TABLES"
            with m.State("CHECK_TABLES"):
                right = total == word["tables_checksum"]
                m.d.comb += [self.done.eq(right), self.error_tables.eq(~right)]
                m.next = "IDLE"
        return m

    def _connect_scene(self, m: Module, word: dict) -> None:
        """Name the header words as the blocks know them."""
        scene = self.scene
        for name in ("rows_offset", "records_offset", "payload_offset", "payload_bytes", "live_cubes"):
            m.d.comb += scene[name].eq(word[name])
        for name in ("density_multiplier", "density_offset", "phase_multiplier", "sine_shift"):
            m.d.comb += Value.cast(scene[name]).eq(word[name])
        for axis in "xyz":
            m.d.comb += [
                scene.grid[axis].eq(word[f"grid_{axis}"]),
                scene.cubes[axis].eq((word[f"grid_{axis}"] + CUBE - 1) >> CUBE.bit_length() - 1),
                scene.mask_scale[axis].eq(word[f"mask_scale_{axis}"]),
                scene.mask_offset[axis].eq(word[f"mask_offset_{axis}"].as_signed()),
            ]
        for kind in ("density", "appearance"):
            for index in range(6):
                factor, pair = ("line" if index >= 3 else "plane"), index % 3
                m.d.comb += scene[f"{kind}_headers"][index].eq(word[f"{kind}_{factor}_{pair}"])
