import pytest

from rtnerf.physical.scaling import area_28nm


def test_130_nm_by_two_methods():
    found = area_28nm("sg13g2", 10.0, 2.0)
    # (28/130)^2 of 12 mm2, and 0.059 of it.
    assert found["area_28nm_mm2"] == pytest.approx([0.5567, 0.708], abs=1e-4)
    assert set(found["area_28nm_methods"]) == {"feature size", "Stillmaker and Baas"}


def test_asap7_by_three_methods():
    found = area_28nm("asap7", 0.1, 2.0)
    areas = {name: method["area_mm2"] for name, method in found["area_28nm_methods"].items()}
    assert areas["pitches"] == pytest.approx(0.1 * 5.4167 + 2 * 0.0392, rel=1e-3)
    assert areas["feature size"] == pytest.approx(0.1 * 128.16 * 0.04639 + 2 * 0.04639, rel=1e-3)
    assert areas["Stillmaker and Baas"] == pytest.approx(0.1 * 128.16 * 0.059 + 2 * 0.059, rel=1e-3)
    assert found["area_28nm_mm2"] == [min(areas.values()), max(areas.values())]
    assert area_28nm("compact", 0.1, 2.0) == found


def test_of_a_library_by_path_nothing_is_known():
    found = area_28nm("my_cells", 0.1, 2.0)
    assert found["area_28nm_mm2"] is None
    assert found["area_28nm_methods"] == "no way to 28 nm is stated for my_cells"
