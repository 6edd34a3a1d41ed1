# %% [markdown]
# # What each idea is worth
#
# The same frames in the cycle-accurate simulator with one idea of RT-NeRF switched off at a time, and with all off: the
# results of `rtnerf ablate`. The RTL can do all of these but uniform sampling, which is modelled only. In another order
# than the exact one the samples are composited in the wrong order: cycles only.
#
# Frames a second are at an assumed clock: no timing of the RTL is claimed. They and gigabytes a second are those of the
# frame where they are worst; the rest is summed over the frames.

# %%
import matplotlib.pyplot as plt

from reports import figure, kept, made, table

COLUMNS = {"cycles": "frame_cycles", "samples": "samples", "shaded": "samples_shaded", "bytes": "dram_bytes"}


def show(result):
    """Table and figure of a result."""
    runs = result["runs"]
    totals = {name: {column: sum(run[key]) for column, key in COLUMNS.items()} for name, run in runs.items()}
    base, size = totals["all on"], f"{result['width_pixels']}x{result['height_pixels']}"
    print(f"{result['model']}, {size}, {result['config']}, {result['clock_hz'] / 1e6:.0f} MHz assumed")
    table(
        ["run", "frames/s", "GB/s", *COLUMNS, "cycles, all on = 1", "bytes, all on = 1", "busiest unit", "in the RTL"],
        [
            [
                name,
                f"{run['fps_at_clock_lowest']:.2f}",
                f"{run['dram_gigabytes_per_second']:.2f}",
                *(f"{totals[name][column]:,}" for column in COLUMNS),
                f"{totals[name]['cycles'] / base['cycles']:.2f}",
                f"{totals[name]['bytes'] / base['bytes']:.2f}",
                f"{run['bottleneck']} {run['bottleneck_share']:.0%}",
                "no" if run["modelled_only"] else "yes",
            ]
            for name, run in runs.items()
        ],
        result,
    )
    shown, axes = plt.subplots(1, 2, figsize=(9, 0.3 * len(runs) + 1), sharey=True, layout="constrained")
    for axis, column in zip(axes, ("cycles", "bytes"), strict=True):
        axis.barh(list(runs), [totals[name][column] / base[column] for name in runs], color="#2f8f7f")
        axis.axvline(1, color="#808080", linewidth=0.8)
        axis.set_xlabel(f"{column}, all on = 1")
    axes[0].invert_yaxis()
    figure(shown, f"Cycles and bytes of {result['model']} with each idea switched off, all on = 1", result)


# %% [markdown]
# ## lego, tuned, 800x800

# %%
show(kept("ablation_lego"))

# %% [markdown]
# ## lego, deferred shading, tuned and fine-tuned, 800x800

# %%
show(kept("ablation_lego_deferred"))

# %% [markdown]
# ## The embedded model, as just simulated

# %%
show(made("demo/ablation.json"))

# %% [markdown]
# ## Hardware for several purposes, and for one each
#
# The tree that sums, counts and searches beside a tree for each, and the decoder of all forms beside a decoder for
# each: the same RTL, mapped to cells (`python -m benchmarks.variants`). Energy is that of a cycle at work and of the
# clock in any other cycle, at the prices of docs/silicon.md: no wires, assumed shares of gates and registers change.

# %%
result = kept("variants")
rows = []
for idea, variants in result["ideas"].items():
    alone = [row for name, row in variants.items() if name != "shared"]
    together = {key: sum(row[key] for row in alone) for key in ("cells", "area_um2", "flip_flops", "idle_pj")}
    for name, row in [*variants.items(), ("each alone, together", together)]:
        busy, delay = row.get("busy_pj"), row.get("delay_ps")
        rows.append([
            f"{idea}, {name}", f"{row['cells']:,}", f"{row['area_um2']:,.0f}", f"{row['flip_flops']:,}",
            f"{row['area_um2'] / variants['shared']['area_um2']:.2f}", f"{delay:.0f}" if delay else "",
            f"{busy[0]:.2f} to {busy[1]:.2f}" if busy else "", f"{row['idle_pj']:.2f}",
        ])  # fmt: skip
table(["hardware", "cells", "um2", "flip-flops", "area, shared = 1", "ps", "pJ a cycle at work", "else"], rows, result)

# %% [markdown]
# ## The exact order, and hardware that sorts
#
# Cubes are walked in the order of the view, so that none needs to be sorted. In its place a merge sort between two
# memories (`benchmarks/merge_sorter.py`), as long as the fullest tile of the embedded scene, would sort the cubes of
# each tile by depth before its first sample. Memories are assumed, see docs/silicon.md.

# %%
sorter = result["sorting"]
table(
    ["quantity", "of the sorter", "of the exact order"],
    [
        ["cells", f"{sorter['cells']:,}", "0"],
        ["logic, um2", f"{sorter['area_um2']:,.0f}", "0"],
        ["memories, um2 and bits", f"{sorter['memory_area_um2']:,.0f}, {sorter['memory_bits']:,}", "0"],
        ["flip-flops", f"{sorter['flip_flops']:,}", "0"],
        ["cubes of a tile at most, and room", f"{sorter['most_cubes_of_a_tile']}, {sorter['capacity']}", ""],
        [f"cycles of a frame, {sorter['size']}x{sorter['size']}", f"{sorter['frame_cycles']:,}", "0"],
        ["logic, uJ a frame", "{:.2f} to {:.2f}".format(*sorter["frame_logic_uj"]), "0"],
        ["memories, uJ a frame", "{:.2f} to {:.2f}".format(*sorter["frame_memory_uj"]), "0"],
    ],
    result,
)

# %% [markdown]
# ## Shading each ray, and each sample
#
# All units of `tiny` with a network that runs once a ray, on composited products, and with one that runs for every
# visible sample: mapped to cells, and the energy of a frame of the embedded scene. Both get the same factors and the
# same samples; pictures are not compared here (docs/deferred.md does).

# %%
kinds = {"each sample": result["shading"]["sample"], "each ray": result["shading"]["deferred"]}
rows = [
    [name, *(shown(one) for one in kinds.values())]
    for name, shown in (
        ("cells", lambda one: f"{one['cells']:,}"),
        ("flip-flops", lambda one: f"{one['flip_flops']:,}"),
        ("logic, mm2", lambda one: f"{one['logic_mm2']:.4f}"),
        ("memories, mm2 (assumed)", lambda one: f"{one['memory_mm2']:.4f}"),
        ("cycles of the frame", lambda one: f"{one['cycles']:,}"),
        ("samples", lambda one: f"{one['samples']:,}"),
        ("runs of the network", lambda one: f"{one['shaded']:,}"),
        ("energy, mJ", lambda one: "{:.2f} to {:.2f}".format(*one["energy_mj"])),
        ("of it DRAM, mJ", lambda one: "{:.2f} to {:.2f}".format(*one["energy_by_unit_mj"]["dram"])),
    )
]
table(["quantity", *kinds], rows, result)
areas = {kind: one["units_um2"] for kind, one in kinds.items()}
names = {name: None for units in areas.values() for name in units}
rows = [
    [name, *(f"{units[name]:,.0f}" if name in units else "" for units in areas.values())]
    for name in names
    if len({round(units.get(name, 0), -2) for units in areas.values()}) > 1
]
table(["unit, um2 with memories", *kinds], rows, result)
