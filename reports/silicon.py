# %% [markdown]
# # What it would be in silicon
#
# Area, clock and energy of `tiny` in ASAP7 (7 nm, predictive, typical), from mapped netlists without wires. The numbers
# are those of the kept synthesis and of the simulated frame of `make demo`;
# `docs/silicon.md` says how they come about and how far to trust them.

# %%
from reports import figure, kept, made, table, treemap

synthesis, frame = kept("synthesis"), made("demo/simulate.json")
run = synthesis["runs"]["tiny asap7"]
units = run["units"]
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
    synthesis,
)

# %% [markdown]
# ## Area by unit
#
# Cells and memory macros, um2. Equal units stand once, for all of them.

# %%
area = {name: unit["instances"] * (unit["area_um2"] + unit["memory_area_um2"]) for name, unit in units.items()}
figure(treemap(area, "um2"), "Area by unit, cells and memory macros", synthesis)

# %% [markdown]
# ## Area by kind

# %%
figure(treemap({kind: mm2 * 1e6 for kind, mm2 in run["area_by_kind_mm2"].items()}, "um2"), "Area by kind", synthesis)

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
    synthesis,
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
        frame,
    )
    causes = {cause: pair[1] for cause, pair in frame["energy_by_cause_mj"].items()}
    figure(treemap(causes, "mJ"), "Energy of the frame by cause, upper figures", frame)
    chip = {name: pair[1] for name, pair in frame["energy_by_unit_mj"].items() if name != "dram"}
    figure(treemap(chip, "mJ on the chip"), "Energy of the frame by unit without DRAM, upper figures", frame)
