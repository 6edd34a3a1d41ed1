import numpy as np
import pytest

from rtnerf.base.errors import InputError
from rtnerf.physical.cells import FALL, RISE, function_of
from rtnerf.physical.liberty import parse, read_library, written
from rtnerf.physical.libraries import COMPACT, load_technology

HEAD = """library (small) {
  time_unit : "1ns"; capacitive_load_unit (1, pf); /* a comment { */
  lu_table_template (t) { variable_1 : total_output_net_capacitance; variable_2 : input_net_transition;
    index_1 ("0.001, 0.002, 0.004"); index_2 ("0.01, 0.02"); }
"""
INVERTER = """  cell (INV) { area : 2; leakage_power () { value : 3; }
    pin (A) { direction : input; capacitance : 0.001; rise_capacitance : 0.0012; }
    pin (Y) { direction : output; function : "!A";
      timing () { related_pin : "A"; timing_sense : negative_unate;
        cell_rise (t) { values ("1, 2", \\
          "3, 4", "5, 6"); }
        cell_fall (scalar) { values ("7"); }
        rise_transition (t) { values ("1, 2", "3, 4", "5, 6"); }
        fall_transition (t) { index_1 ("0.1, 0.2, 0.4"); values ("1, 2", "3, 4", "5, 6"); }
      }
      internal_power () { related_pin : "A"; rise_power (t) { values ("1, 2", "3, 4", "5, 6"); } }
    } }
"""
CELLS = """  cell (NAND) { area : 3; pin (A) { direction : input; } pin (B) { direction : input; }
    pin (Y) { direction : output; function : "!(A B)";
      timing () { related_pin : "A"; cell_rise (scalar) { values ("1"); } } } }
  cell (FLOP) { area : 9; ff (IQ, IQN) { clocked_on : "CK"; next_state : "D"; }
    pin (CK) { direction : input; clock : true; } pin (D) { direction : input;
      timing () { related_pin : "CK"; timing_type : setup_rising; rise_constraint (scalar) { values ("1"); } } }
    pin (Q) { direction : output; function : "IQ";
      timing () { related_pin : "CK"; timing_type : rising_edge; cell_rise (scalar) { values ("1"); } } } }
"""


@pytest.fixture
def library(tmp_path):
    def read(text):
        path = tmp_path / "small.lib"
        path.write_text(text)
        return read_library([path])

    return read


def test_units_templates_and_tables(library):
    inverter = library(HEAD + INVERTER + CELLS + "}").cells["INV"]
    assert inverter.area == 2
    assert inverter.leakage == 3
    assert inverter.pins["A"].capacitance == (1.2, 1.0)
    (arc,) = inverter.pins["Y"].arcs
    assert (arc.source, arc.kind, arc.sense) == ("A", "logic", "negative")
    rise = arc.delays[RISE]
    # The template has the load first: a table has the transition down.
    np.testing.assert_allclose(rise.rows, [10, 20])
    np.testing.assert_allclose(rise.columns, [1, 2, 4])
    np.testing.assert_allclose(rise.values, [[1000, 3000, 5000], [2000, 4000, 6000]])
    assert arc.delays[FALL].values.tolist() == [[7000]]
    np.testing.assert_allclose(arc.transitions[FALL].columns, [100, 200, 400])


def test_conditional_arcs_become_their_largest_values(library):
    timing = INVERTER[INVERTER.index("      timing") : INVERTER.index("      internal_power")]
    twice = timing + timing.replace('"3, 4"', '"9, 1"').replace("timing () {", 'timing () { when : "B";')
    inverter = library(HEAD + INVERTER.replace(timing, twice) + CELLS + "}").cells["INV"]
    (arc,) = inverter.pins["Y"].arcs
    np.testing.assert_allclose(arc.delays[RISE].values, [[1000, 9000, 5000], [2000, 4000, 6000]])


def test_written_library_reads_back(library):
    first = library(HEAD + INVERTER + CELLS + "}")
    second = library(written(first))
    assert written(second) == written(first)
    assert second.cells.keys() == {"INV", "NAND", "FLOP"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (HEAD + INVERTER + CELLS, "line 24"),
        (HEAD + INVERTER + CELLS + "} }", "line 25"),
        ("not Liberty", "line 1"),
        (HEAD + "  cell (INV) { ??? } }", "line 5"),
    ],
)
def test_broken_files_are_refused_with_the_line(tmp_path, text, line):
    path = tmp_path / "broken.lib"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"^library must be a Liberty file, not \S+broken.lib \({line}\)$"):
        read_library([path])


def test_partial_libraries_are_refused(library, tmp_path):
    with pytest.raises(InputError, match=r"^library must be Liberty files with a flip-flop, not "):
        library(HEAD + INVERTER + "}")
    with pytest.raises(InputError, match=r"^library must be a Liberty file with tables, not "):
        library(HEAD + INVERTER.replace('"3, 4", ', "") + CELLS + "}")
    with pytest.raises(InputError, match=r"^library must be a Liberty file that can be read, not "):
        read_library([tmp_path / "absent.lib"])


def test_unknown_libraries_are_refused(monkeypatch, tmp_path):
    with pytest.raises(
        InputError, match=r"^library must be one of asap7, sg13g2, sky130, compact or Liberty files, not "
    ):
        load_technology(["nangate45"])
    monkeypatch.setenv("RTNERF_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"^library must be in .*, not missing: asap7$"):
        load_technology(["asap7"])
    assert load_technology().name == "compact"


def test_compact_library_is_small_and_whole():
    library = read_library([COMPACT])
    assert 25 <= len(library.cells) <= 40
    assert parse(COMPACT.read_text()).name == "compact"
    assert load_technology(["compact"]).fo4_ps == pytest.approx(22, rel=0.1)


@pytest.mark.parametrize("text", ["__import__('os')", "exit()", "A if B else C", "A.x"])
def test_a_function_that_is_more_than_gates_is_not_evaluated(text):
    with pytest.raises(ValueError, match="must be of names"):
        function_of(text)
