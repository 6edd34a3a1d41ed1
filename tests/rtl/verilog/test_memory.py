"""Memories in Verilog equal what Amaranth means by them, in the first cycles of every run: proved by Yosys."""

import subprocess
import sys

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.verilog.export import verilog_of

DEPTH, WIDTH, CYCLES = 3, 4, 6
SHAPE = data.StructLayout({"low": 1, "high": 3})
KINDS = {
    "written": {"reads": ["sync"]},
    "transparent": {"reads": ["transparent", "sync"]},
    "at once": {"reads": ["comb"]},
    "in parts": {"reads": ["sync"], "granularity": 2},
    "table": {"reads": ["sync", "sync"], "writes": False, "init": [5, 0, 15]},
    "structure": {"reads": ["sync"], "shape": SHAPE, "init": [{"low": 1}, None, {"high": 6}]},
}
PROOF = (
    "read_rtlil one.il", "read_verilog other.v", "proc", "flatten other", "memory", "opt_clean",
    "miter -equiv -flatten -make_outputs one other pair",
    f"sat -verify -seq {CYCLES} -set-init-undef -set-def-inputs -prove trigger 0 pair",
)  # fmt: skip
FROM_BLANK = tuple(
    command.replace("-set-init-undef", "-set-init-zero").replace("-equiv", "-equiv -ignore_gold_x") for command in PROOF
)
"""Of runs that start with blank rows; what is read of a row that is not there is not compared."""
RUN = "import sys; from pyosys import libyosys; d = libyosys.Design(); [libyosys.run_pass(c, d) for c in sys.argv[1:]]"


class Holder(wiring.Component):
    """A memory and its ports, an address that it does not have left out."""

    def __init__(self, reads, writes=True, granularity=None, shape=WIDTH, init=()):
        self._memory = memory = Memory(shape=shape, depth=DEPTH, init=init)
        self._write = [memory.write_port(granularity=granularity)] if writes else []
        self._read = [
            memory.read_port(
                domain="comb" if read == "comb" else "sync",
                transparent_for=self._write if read == "transparent" else [],
            )
            for read in reads
        ]
        address = range(DEPTH)
        ports = {f"address_{n}": In(address) for n, _ in enumerate(reads)} | {
            f"en_{n}": In(1) for n, _ in enumerate(reads)
        }
        ports |= {f"data_{n}": Out(WIDTH) for n, _ in enumerate(reads)}
        ports |= {"en": In(len(self._write[0].en)), "address": In(address), "data": In(WIDTH)} if writes else {}
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = self._memory
        for write in self._write:
            m.d.comb += [write.en.eq(self.en), write.addr.eq(self.address), Value.cast(write.data).eq(self.data)]
        for n, read in enumerate(self._read):
            m.d.comb += [read.addr.eq(getattr(self, f"address_{n}")), getattr(self, f"data_{n}").eq(read.data)]
            if read.domain != "comb":
                m.d.comb += read.en.eq(getattr(self, f"en_{n}"))
        return m


def proves(kind, folder, change=lambda text: text, write=lambda holder: verilog_of(holder, "other"), proof=PROOF):
    """Whether Verilog that is written of a memory equals it."""
    pytest.importorskip("pyosys.libyosys", reason="proofs need pyosys")
    (folder / "one.il").write_text(rtlil.convert(Holder(**kind), "one"))
    (folder / "other.v").write_text(change(write(Holder(**kind))))
    done = subprocess.run([sys.executable, "-c", RUN, *proof], cwd=folder, capture_output=True, text=True, check=False)
    if "SUCCESS!" in done.stdout:
        return True
    assert "FAIL!" in done.stdout, done.stdout[-3000:] + done.stderr
    return False


@pytest.mark.parametrize("name", KINDS)
def test_a_memory_means_the_same(name, tmp_path):
    assert proves(KINDS[name], tmp_path)


@pytest.mark.parametrize(
    ("name", "written", "wrong"),
    [
        ("written", "if (read_0_enable)", "if (1'b1)"),
        ("transparent", "write_address == read_0_address", "write_address == read_1_address"),
        ("in parts", "if (write_enable[1])", "if (write_enable[0])"),
        ("table", "rows[2] = 4'hf", "rows[2] = 4'he"),
        ("structure", "row = 0", "row = 2"),
    ],
)
def test_a_wrong_memory_is_found(name, written, wrong, tmp_path):
    def change(text):
        assert written in text
        return text.replace(written, wrong)

    assert not proves(KINDS[name], tmp_path, change)
