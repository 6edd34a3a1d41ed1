# %% [markdown]
# # The accelerator
#
# Its blocks, and one frame of the embedded scene in the cycle-accurate simulator, whose cycles are the RTL's, every one
# of them: what each unit does, what holds the frame up, and the traffic to memory.
#
# Frames a second are at an assumed clock: no timing of the RTL is claimed.

# %%
import json

import matplotlib.pyplot as plt
import numpy as np

from nerf.contract.config import load_config
from reports import build_folder, figure, made, table, treemap
from reports.site.diagram import diagram
from rtnerf.plots import COLOURS, plot_units

base, rtl, generated = made("demo/simulate.json"), made("demo/rtl.json"), made("demo/generate.json")
COURSE = "frame_controller", "tile_scheduler"
MEMORY = "{kind}, {channels} channels of {channel_bits} bits, {mega_transfers} MT/s"
busy = {name: unit["busy_share"] for name, unit in base["units"].items() if name not in COURSE}
figure(
    diagram(load_config(base["config"]), busy),
    "Blocks by stage and the streams between them, read from the RTL; the darker, the busier in this frame",
    base,
)

# %%
table(
    ["quantity", "value"],
    [
        ["frame", f"{base['width_pixels']}x{base['height_pixels']} pixels, configuration {base['config']}"],
        ["memory", MEMORY.format(**base["memory"])],
        ["cycles", f"{base['cycles']:,}"],
        ["frames a second, assumed clock", f"{base['fps_at_clock']:.2f} at {base['clock_hz'] / 1e6:.0f} MHz"],
        ["samples composited / shaded", f"{base['samples']:,} / {base['samples_shaded']:,}"],
        ["busiest unit", base["bottleneck"]],
        ["memory read / written, bytes", f"{base['dram_read_bytes']:,} / {base['dram_write_bytes']:,}"],
        ["of it", ", ".join(f"{name} {count:,}" for name, count in base["dram_read_bytes_by_kind"].items())],
        ["simulated cycles a second", f"{base['cycles'] / base['seconds_simulation']:,.0f}"],
    ],
    base,
)

# %% [markdown]
# ## Held to the RTL
#
# The co-simulation of the same frame, with a memory of fixed latency: the cycle of every transfer on every probed
# stream.

# %%
table(
    ["quantity", "value"],
    [
        ["cycles of the RTL / of the simulator", f"{rtl['cycles_rtl']:,} / {rtl['cycles_sim']:,}"],
        ["transfers compared", f"{rtl['transactions']:,}"],
        *[[f"{stream} in other cycles", count] for stream, count in (rtl["cycle_mismatches"] or {}).items()],
    ],
    rtl,
)

# %% [markdown]
# ## What every unit does
#
# Each unit's cycles add up to the frame's: busy; waiting for room behind it, for memory, for the shared tree, or for
# factors on their way; or idle, with nothing to do.

# %%
units = {name: row for name, row in base["units"].items() if name not in COURSE}
figure(
    plot_units(units, base["cycles"]), "Share of the frame's cycles in which each unit works, waits or is idle", base
)

# %% [markdown]
# ## The frame as a timeline
#
# What each unit mostly does, window by window. The same data, for Perfetto or Chrome, are in
# `build/demo/simulate.trace.json`.

# %%
events = json.loads((build_folder() / "demo" / "simulate.trace.json").read_text())["traceEvents"]
names = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
rows = {tid: place for place, tid in enumerate(tid for tid, name in names.items() if name in units)}
spans = {}
for event in events:
    if event["ph"] == "X" and event["tid"] in rows:
        spans.setdefault((event["tid"], event["name"]), []).append((event["ts"], event["dur"]))
shown, axis = plt.subplots(figsize=(9, 0.28 * len(rows) + 1), layout="constrained")
for (tid, activity), parts in spans.items():
    axis.broken_barh(parts, (rows[tid] - 0.4, 0.8), color=COLOURS[activity], rasterized=True)
axis.set_yticks(list(rows.values()), [names[tid] for tid in rows])
axis.invert_yaxis()
axis.set_xlabel(f"microseconds at {base['clock_hz'] / 1e6:.0f} MHz")
figure(shown, "What each unit mostly does, window by window, over the frame", base)

# %% [markdown]
# ## Under the roofs
#
# Multiply-accumulates a cycle over multiply-accumulates a byte of traffic. The flat roof is what the configuration's
# multipliers can do, the slope what its memory can deliver.

# %%
shown, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
roof = base["roofline"]
intensity = np.logspace(-1, 4, 200)
axis.loglog(
    intensity,
    np.minimum(roof["compute_roof_macs_per_cycle"], intensity * roof["memory_bytes_per_cycle"]),
    color="#808080",
)
axis.plot(roof["macs_per_byte"], roof["macs_per_cycle"], "o")
axis.set_xlabel("multiply-accumulates a byte")
axis.set_ylabel("multiply-accumulates a cycle")
figure(shown, "Roofline: multiply-accumulates a cycle over multiply-accumulates a byte, and where this frame is", base)

# %% [markdown]
# ## Bytes by kind and by buffer
#
# What the frame reads and writes, and what the configuration holds on chip.

# %%
moved = {**base["dram_read_bytes_by_kind"], "written": base["dram_write_bytes"]}
table(["memory traffic", "bytes"], [[name, f"{count:,}"] for name, count in moved.items()], base)
held = generated["sidecar"]["on_chip_memory_bytes"]
figure(treemap(held, "bytes on chip"), "Bytes on chip by unit", generated)
