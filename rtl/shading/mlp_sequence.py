"""One stage of the MLP engine, for all samples of a batch alike: inputs, weights, requantisation entries, outputs."""

from itertools import accumulate

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nerf.contract.formats import WEIGHT
from nerf.contract.network import Stage
from nerf.contract.scene_image import BEAT, row_beats
from rtl.payloads import TableWrite
from rtl.shading.mlp_datapath import Drive, Entry, MlpLanes, Step, output_layout

BEAT_BITS = 8 * BEAT
FIRST_OUTPUT = 2 + MlpLanes.RESULT
"""Cycles from the last activation of a pass at the lanes to its first result."""


class MlpSequence(wiring.Component):
    """Issue the inputs of a stage's layers, pass by pass, and tell its lanes what becomes of them.

    Rules
    -----
    - A batch begins when its inputs are ``there``, its last layer when there is ``room`` for the outputs.
    - ``claim``: the last layer begins; ``free``: the first layer has read all inputs; ``fill``: the last output is
      written. See `rtl.parts.banks`.
    - The beats of the stage's tables fill entries and weights. Nothing may be shaded while they pass.

    Latency: `latency` cycles from the last input to ``fill``.
    Throughput: one batch in ``stage.cycles``.

    Parameters
    ----------
    stage : Stage
    source : int
        Cycles from the issue of an input to the lanes.
    first_beat : int
        Of the stage's tables in the tables section.

    Members
    -------
    there, room : In(1)
    claim, free, fill : Out(1)
    table : In(TableWrite)
    write : In(1)
        ``table`` is a beat.
    step, row, layer : Out
        The input that is issued: its number, in the first or the second layer of the stage.
    drive : Out(Drive)
    """

    def __init__(self, stage: Stage, source: int, first_beat: int) -> None:
        self._stage, self._source, self._first_beat = stage, source, first_beat
        self._rows = range(max(one.cycles for one in stage.passes))
        super().__init__(
            {
                **dict.fromkeys(("there", "room"), In(1)),
                **dict.fromkeys(("claim", "free", "fill"), Out(1)),
                "table": In(TableWrite),
                "write": In(1),
                "step": Out(Step),
                "row": Out(self._rows),
                "layer": Out(1),
                "drive": Out(Drive(stage)),
            }
        )

    @staticmethod
    def latency(stage: Stage, source: int) -> int:
        """Return the cycles from the last input of a batch to the last output on its way into its memory."""
        return source + FIRST_OUTPUT + stage.passes[-1].outputs - 1

    def elaborate(self, platform) -> Module:
        """Return the issue, the memories and the outputs."""
        m = Module()
        self._issue(m)
        steps = [self.step, *delayed(m, self.step, self._source + 1)]
        output, following = self._outputs(m, steps[-1])
        *_, written = delayed(m, output, MlpLanes.RESULT)
        m.d.comb += [
            self.drive.add.eq(steps[-1]),
            self.drive.weights.eq(self._weights(m, steps[self._source - 2].valid)),
            self.drive.output.eq(written),
            self.fill.eq(written.valid & (written.index == self._stage.outputs - 1)),
        ]
        for port, entry in zip(self.drive.entries, self._entries(m, following), strict=True):
            m.d.comb += port.eq(entry)
        return m

    def _issue(self, m: Module) -> None:
        """Issue an input a cycle; pause where the next layer's are not there yet."""
        passes = self._stage.passes
        assert all(one.cycles - one.inputs in (0, self._source + FIRST_OUTPUT) for one in passes)
        behind_first = sum(one.layer == passes[0].layer for one in passes)
        last = len(passes) - sum(one.layer == passes[-1].layer for one in passes)
        number = Signal(range(len(passes)))
        row = Signal(self._rows)
        begins, goes, ends = Signal(), Signal(), Signal()
        m.d.comb += [
            begins.eq((number == last) & (row == 0)),
            goes.eq(((number >= behind_first) | self.there) & (~begins | self.room)),
            ends.eq(goes & (row == Array(one.cycles - 1 for one in passes)[number])),
            self.claim.eq(goes & begins),
            self.free.eq(ends & (number == behind_first - 1)),
            self.step.valid.eq(goes & (row < Array(one.inputs for one in passes)[number])),
            self.step.first.eq(row == 0),
            self.step.last.eq(row == Array(one.inputs - 1 for one in passes)[number]),
            self.row.eq(row),
            self.layer.eq(number >= behind_first),
        ]
        with m.If(goes):
            m.d.sync += row.eq(row + 1)
        with m.If(ends):
            m.d.sync += [row.eq(0), number.eq(Mux(number == len(passes) - 1, 0, number + 1))]

    def _weights(self, m: Module, read: Signal) -> Signal:
        """Return the row of weights that goes with the input of the second cycle after ``read``, from registers."""
        stage = self._stage
        beats = row_beats(stage)
        width = WEIGHT.width * stage.lanes if beats == 1 else BEAT_BITS * beats
        m.submodules.weights = memory = Memory(shape=width, depth=stage.rows, init=[])
        write_port = memory.write_port(granularity=min(BEAT_BITS, width))
        read_port = memory.read_port()
        part_bits = beats.bit_length() - 1
        beat = Signal(16)
        m.d.comb += [
            beat.eq(self.table.beat - (self._first_beat + stage.outputs)),
            write_port.addr.eq(beat >> part_bits),
            write_port.data.eq(self.table.data.replicate(beats)),
        ]
        with m.If(self.write & (beat < stage.rows * beats)):
            m.d.comb += write_port.en.eq(1 << beat[:part_bits])

        # Every batch uses all rows in the order of the table.
        row = Signal(range(stage.rows))
        m.d.comb += [read_port.addr.eq(row), read_port.en.eq(read)]
        with m.If(read):
            m.d.sync += row.eq(Mux(row == stage.rows - 1, 0, row + 1))
        weights = Signal(width)
        m.d.sync += weights.eq(read_port.data)
        return weights

    def _outputs(self, m: Module, add: data.View) -> tuple[data.View, Signal]:
        """Return which output leaves the lanes, and its number in the next cycle."""
        # A pass takes at least as many cycles as it has outputs, so the last pass has left when the next arrives.
        stage = self._stage
        output = Signal(output_layout(stage))
        following = Signal.like(output.index)
        ends = list(accumulate(one.outputs for one in stage.passes))
        m.d.comb += following.eq(output.index)
        m.d.sync += output.index.eq(following)
        with m.If(output.valid):
            m.d.comb += following.eq(Mux(output.index == ends[-1] - 1, 0, output.index + 1))
            with m.If(Cat(output.index == end - 1 for end in ends).any()):
                m.d.sync += output.valid.eq(0)
        with m.If(add.valid & add.last):
            m.d.sync += output.valid.eq(1)
        return output, following

    def _entries(self, m: Module, following: Signal) -> list[data.View]:
        """Return the requantisation entry of the output of the cycle before, of that before it, and so on.

        ``following``: the number of the output of the next cycle, or the one after those so far.
        """
        stage = self._stage
        m.submodules.entries = memory = Memory(shape=Entry, depth=stage.outputs, init=[])
        write_port, read_port = memory.write_port(), memory.read_port()
        beat = Signal(16)
        entry = Signal(Entry)
        m.d.comb += [
            beat.eq(self.table.beat - self._first_beat),
            write_port.addr.eq(beat),
            write_port.data.eq(self.table.data[: Entry.size]),
            write_port.en.eq(self.write & (beat < stage.outputs)),
            read_port.addr.eq(following),
            entry.eq(read_port.data),
        ]
        return delayed(m, entry, MlpLanes.ENTRIES)


def delayed(m: Module, signal: data.View, cycles: int) -> list[data.View]:
    """Return a structure one cycle later, two cycles later, and so on."""
    line = [signal]
    for n in range(cycles):
        line.append(Signal(signal.shape(), name=f"{signal.as_value().name}_{n + 1}"))
        m.d.sync += line[-1].eq(line[-2])
    return line[1:]
