"""From the node of a library to a 28 nm class: as a range between stated methods, never as one figure.

None of these is a synthesis for 28 nm. The methods err in different ways, and their spread is what is known.
"""

from __future__ import annotations

from typing import NamedTuple

FEATURE_SIZE = (28 / 130) ** 2
"""Of areas, from 130 nm: the square of the feature sizes."""
STILLMAKER_BAAS = 0.059
"""Of areas, from 130 nm: Stillmaker and Baas, Integration 58 (2017) 74-81, doi 10.1016/j.vlsi.2017.02.002: 0.072 at
32 nm and 0.033 at 20 nm, linear between them."""
MULTIPLY_ADD = 6408 / 50
"""Area in sg13g2 over that in ASAP7 of one multiply-add, 8 x 8 bits and a sum of 24, mapped to both (um2)."""
PITCHES = 117 * 90 / (54 * 36)
"""Of areas, from ASAP7: gate pitch times metal pitch, nm; TSMC 28 nm (WikiChip, 28 nm lithography process) over ASAP7's
(its cells' grid)."""
BIT_CELL = 0.127 / 3.24
"""Of memories, from the fit to sg13g2's macros: TSMC's high-density bit cell of 28 nm in um2 (WikiChip) over the fit's
area a bit."""


class Scale(NamedTuple):
    """A way to 28 nm: factors of the area of cells and of memories, the latter from sg13g2's; where they come from."""

    cells: float
    memories: float
    source: str


_FROM_130 = {
    "feature size": Scale(FEATURE_SIZE, FEATURE_SIZE, "(28/130)^2"),
    "Stillmaker and Baas": Scale(STILLMAKER_BAAS, STILLMAKER_BAAS, "doi 10.1016/j.vlsi.2017.02.002, 130 to 28 nm"),
}
_FROM_ASAP7 = {
    name: Scale(scale.cells * MULTIPLY_ADD, scale.memories, f"{scale.source}; to sg13g2 by a multiply-add in both")
    for name, scale in _FROM_130.items()
} | {"pitches": Scale(PITCHES, BIT_CELL, "gate and metal pitch, and bit cell, of 28 nm after WikiChip")}

TO_28NM = {"asap7": _FROM_ASAP7, "compact": _FROM_ASAP7, "sg13g2": _FROM_130, "sky130": _FROM_130}
"""By library, the methods by name."""


def area_28nm(library: str, cells_mm2: float, memories_mm2: float) -> dict[str, object]:
    """Return what an area comes to in a 28 nm class.

    Parameters
    ----------
    library : str
        By name; of any other, nothing is known.
    cells_mm2, memories_mm2 : float
        Of the mapped cells in the library, and of the memories as sg13g2's macros.

    Returns
    -------
    dict
        ``area_28nm_mm2``: the lowest and the highest, or None; ``area_28nm_methods``: by method, or why there is none.
    """
    if library not in TO_28NM:
        return {"area_28nm_mm2": None, "area_28nm_methods": f"no way to 28 nm is stated for {library}"}
    methods = {
        name: {"area_mm2": cells_mm2 * scale.cells + memories_mm2 * scale.memories, **scale._asdict()}
        for name, scale in TO_28NM[library].items()
    }
    areas = [method["area_mm2"] for method in methods.values()]
    return {"area_28nm_mm2": [min(areas), max(areas)], "area_28nm_methods": methods}
