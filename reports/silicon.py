# %% [markdown]
# # What it would be in silicon
#
# Area, clock and energy of `tiny` in ASAP7 (7 nm, predictive, typical), from mapped netlists without wires. The numbers
# are those of `reports/results/synthesis.json`, `reports/results/peers.json` and of the simulated frame of `make demo`;
# `docs/silicon.md` says how they come about and how far to trust them.

# %%
import json
import os
from pathlib import Path

import matplotlib.pyplot as plt

import reports
from reports import table, treemap

results = Path(reports.__file__).parent / "results"
synthesis = json.loads((results / "synthesis.json").read_text())
run = synthesis["runs"]["tiny asap7"]
units = run["units"]
simulated = Path(os.environ["RTNERF_BUILD"]) / "demo" / "simulate.json"
if not simulated.is_file():
    raise SystemExit(f"results must be made first by `make demo`, not missing: {simulated}")
frame = json.loads(simulated.read_text())

low, high = run["area_28nm_mm2"]
table(
    ["quantity", "value", "basis"],
    [
        ["clock of the slowest unit", f"{run['clock_mhz']:.0f} MHz ({run['slowest']})", "derived: own timer, no wires"],
        ["the same, less 20 % for wires", f"{run['clock_mhz_with_wires']:.0f} MHz", "assumed share"],
        ["logic", f"{run['logic_mm2']:.3f} mm2, {run['cells']:,} cells", "derived: mapped netlists"],
        ["memories", f"{run['memory_mm2']:.3f} mm2, {run['memory_bytes']:,} bytes", "assumed: scaled from sg13g2"],
        ["28 nm class", f"{low:.2f} to {high:.2f} mm2", "derived: a range of ways of scaling"],
    ],
)

# %% [markdown]
# ## Area by unit
#
# Cells and memory macros, um2. Equal units stand once, for all of them.

# %%
area = {name: unit["instances"] * (unit["area_um2"] + unit["memory_area_um2"]) for name, unit in units.items()}
treemap(area, "um2")
plt.show()

# %% [markdown]
# ## Area by kind

# %%
treemap({kind: mm2 * 1e6 for kind, mm2 in run["area_by_kind_mm2"].items()}, "um2")
plt.show()

# %% [markdown]
# ## The slowest paths
#
# From register or memory to register or memory, inside a unit. Paths through several units are not joined.

# %%
slowest = sorted((name for name in units if units[name]["delay_ps"]), key=lambda name: -units[name]["delay_ps"])
table(
    ["unit", "ps", "cells on the way", "from", "to"],
    [
        [name, f"{units[name]['delay_ps']:.0f}", *(units[name]["path"][key] for key in ("cells", "from", "to"))]
        for name in slowest[:12]
    ],
)

# %% [markdown]
# ## A frame's energy
#
# Activity of the exact simulator times prices. The maps show the upper figures: of all, and of the chip without DRAM.

# %%
energy = frame["energy_mj"]
if energy is None:
    print(frame["energy_missing"])
else:
    table(
        ["quantity", "value", "basis"],
        [
            ["frame", f"{frame['width_pixels']}x{frame['height_pixels']}, {frame['cycles']:,} cycles", "measured"],
            ["frames a second at the library's clock", f"{frame['fps_at_library_clock']:.0f}", "derived"],
            ["the same at the assumed clock", f"{frame['fps_at_assumed_clock']['fps']:.0f}", "assumed clock"],
            ["energy", f"{energy[0]:.2f} to {energy[1]:.2f} mJ", "derived"],
        ],
    )
    treemap({cause: pair[1] for cause, pair in frame["energy_by_cause_mj"].items()}, "mJ")
    treemap({name: pair[1] for name, pair in frame["energy_by_unit_mj"].items() if name != "dram"}, "mJ on the chip")
    plt.show()

# %% [markdown]
# ## Beside published accelerators
#
# Each cell says whether it is stated in its source or derived. Workloads, scenes and sizes of the pictures differ, so
# this is no ranking. Energy a frame, where it is not stated, is power over frames a second.

# %%
columns = ("node_nm", "clock_mhz", "area_mm2", "power_w", "fps", "mj_a_frame")
peers = json.loads((results / "peers.json").read_text())


def shown(cells):
    cells = dict(cells)
    if "mj_a_frame" not in cells and {"power_w", "fps"} <= cells.keys():
        cells["mj_a_frame"] = [1000 * cells["power_w"][0] / cells["fps"][0], "derived"]
    return ["{:.4g} {}".format(*cells[column]) if column in cells else "" for column in columns]


ours = {
    "node_nm": [7, "predictive"],
    "clock_mhz": [run["clock_mhz_with_wires"], "derived"],
    "area_mm2": [run["area_mm2"], "derived"],
}
if energy is not None:
    ours |= {"fps": [frame["fps_at_library_clock"], "derived"], "mj_a_frame": [energy[1], "derived, upper"]}
size = f"{frame['width_pixels']}x{frame['height_pixels']}"
table(
    ["design", "workload", *columns, "source"],
    [
        *([one["name"], one["workload"], *shown(one["cells"]), one["source"]] for one in peers["designs"]),
        ["this one, `tiny`", f"TensoRF, cube by cube, {size}", *shown(ours), "above"],
    ],
)
