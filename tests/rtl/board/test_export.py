"""What `rtnerf generate --board` writes, and clocks and rates that a board does not make."""

import re

import pytest

from rtl.board.export import bit_cycles, board_verilog, pins
from rtnerf.base.errors import InputError

DIVIDERS = re.compile(r"\.(CLKI_DIV|CLKFB_DIV|CLKOP_DIV)\((\d+)\)")


@pytest.mark.parametrize("clock", [5, 25, 50, 62.5, 60, 100, 12.5, 200])
def test_the_clock_is_made_within_the_limits_of_the_oscillators(clock):
    """Lattice FPGA-DS-02012: the phase detector takes 3.125 to 400 MHz, the oscillator makes 400 to 800."""
    found = {name: int(value) for name, value in DIVIDERS.findall(board_verilog("ulx3s", clock))}
    assert 25 * found["CLKFB_DIV"] / found["CLKI_DIV"] == pytest.approx(clock)
    assert 25 / found["CLKI_DIV"] >= 3.125
    assert 400 <= clock * found["CLKOP_DIV"] <= 800
    assert found["CLKOP_DIV"] <= 128


@pytest.mark.parametrize("clock", [1, 51.1, 400])
def test_other_clocks_are_refused(clock):
    with pytest.raises(InputError, match=r"^clock-mhz must be from 5 to 200 MHz and 25 MHz times a fraction"):
        board_verilog("ulx3s", clock)


def test_a_bit_is_a_whole_number_of_cycles():
    assert bit_cycles(50, 2_000_000) == 25
    assert bit_cycles(25, 2_000_000 * 25 // 24) == 12
    for clock, baud in ((25, 3_000_000), (5, 2_000_000)):
        with pytest.raises(InputError, match=r"^baud must be the clock"):
            bit_cycles(clock, baud)


def test_every_port_of_the_top_has_a_pin():
    ports = re.findall(r"^  (?:input|output) (\[7:0\] )?(\w+)", board_verilog("ulx3s", 50), re.MULTILINE)
    names = [f"{name}[{bit}]" for wide, name in ports if wide for bit in range(8)]
    names += [name for wide, name in ports if not wide]
    assert len(names) == 13
    assert sorted(re.findall(r'LOCATE COMP "([^"]+)"', pins("ulx3s"))) == sorted(names)
