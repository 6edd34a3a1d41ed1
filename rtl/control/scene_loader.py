"""Read the scene image's device header and tables, check them, and hold the header for the frame."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import CUBE, AcceleratorConfig
from nerf.contract.scene_image import BEAT, HEADER_WORDS, MAGIC, VERSION, WORDS
from rtl.payloads import DeviceHeader, ReadPort, SceneRegisters, TableWrite

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
        header = DeviceHeader(words)
        total = Signal(32)
        beat = Signal(16)
        request, beats = self.memory.request, self.memory.beats
        arriving = beats.payload.data
        arriving_sum = sum(arriving[32 * n : 32 * n + 32] for n in range(WORDS_PER_BEAT))
        self._connect_scene(m, header)

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
                with m.If((header.magic != MAGIC) | (header.version != VERSION) | (total != 0)):
                    m.d.comb += self.error_header.eq(1)
                    m.next = "IDLE"
                with m.Elif(header.config_digest != self.cfg.digest_word):
                    m.d.comb += self.error_config.eq(1)
                    m.next = "IDLE"
            with m.State("REQUEST_TABLES"):
                remaining = header.tables_beats - beat
                # The section starts on a beat: the first burst ends on a 256-byte boundary, as all do after it.
                to_boundary = TABLE_BURST - (header.tables_offset[4:8] + beat)[:4]
                m.d.comb += [
                    request.valid.eq(1),
                    request.payload.address.eq(self.scene_base + header.tables_offset + (beat << 4)),
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
                        with m.If(beat + 1 == header.tables_beats):
                            m.next = "CHECK_TABLES"
            with m.State("CHECK_TABLES"):
                right = total == header.tables_checksum
                m.d.comb += [self.done.eq(right), self.error_tables.eq(~right)]
                m.next = "IDLE"
        return m

    def _connect_scene(self, m: Module, header: data.View) -> None:
        """Show what the blocks need of the header, each word in as many bits as it has."""
        for name in (word.name for word in WORDS if word.held):
            m.d.comb += [
                held.eq(word) for held, word in zip(_parts(self.scene[name]), _parts(header[name]), strict=True)
            ]
        for cubes, grid in zip(_parts(self.scene.cubes), _parts(header.grid), strict=True):
            m.d.comb += cubes.eq((grid + CUBE - 1) >> CUBE.bit_length() - 1)


def _parts(field) -> list:
    return [field[key] for key, _ in field.shape()] if isinstance(field, data.View) else [field]
