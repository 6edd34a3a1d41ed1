import pytest

from rtnerf.base.errors import InputError
from rtnerf.physical.synthesis import choose
from rtnerf.physical.units import Design

MODULES = r"""
attribute \src "/home/rtl/part.py:3"
module \rtnerf.lane_{n}.part
  attribute \src "/home/rtl/part.py:7"
  wire width 1 \level
end
module \rtnerf.lane_{n}
  wire width 1 input 1 \clk
  cell \rtnerf.lane_{n}.part \part
    connect \clk \clk
  end
  cell \shared \one
  end
end
"""
TEXT = (
    r"""module \rtnerf
  cell \rtnerf.lane_0 \lane_0
  end
  cell \rtnerf.lane_1 \lane_1
  end
end
module \shared
  wire width 4 output 1 \sum
  cell $add \add
  end
end
"""
    + MODULES.replace("{n}", "0")
    + MODULES.replace("{n}", "1")
)


def test_equal_units_are_one():
    units = Design(TEXT).units
    assert [(unit.name, unit.instances) for unit in units] == [("top", 1), ("lane_0", 2), ("lane_0.one", 2)]


def test_a_unit_holds_its_parts_and_only_the_ports_of_other_units():
    lane = Design(TEXT).units[1]
    assert r"module \unit.1" in lane.text
    assert r"cell \unit.1 \part" in lane.text
    assert "attribute \\blackbox 1\nmodule \\child_2\n  wire width 4 output 1 \\sum\nend" in lane.text
    assert "$add" not in lane.text
    assert "src" not in lane.text


def test_sources_are_found_through_the_parts():
    design = Design(TEXT)
    lane = design.units[1]
    assert design.source_of(lane, "part.level[3]") == "rtl/part.py:7"
    assert design.source_of(lane, "part.other") == ""
    assert design.source_of(lane, "absent.level") == ""


def test_an_unknown_unit_is_refused():
    units = Design(TEXT).units
    assert choose(units, ["lane_0", "lane_0"]) == [units[1]]
    with pytest.raises(InputError, match=r"^unit must be one of top, lane_0, lane_0.one, not lane_9$"):
        choose(units, ["lane_9"])


@pytest.mark.slow
def test_units_of_tiny(design):
    names = {unit.name for unit in design.units}
    assert {"top", "compositor", "ray_setup.unit_0", "sample_generator.lane_0", "mlp_engine.sample_0"} <= names
    compositor = next(unit for unit in design.units if unit.name == "compositor")
    assert design.source_of(compositor, "handed_on").startswith("rtl/shading/compositor.py:")
