# %% [markdown]
# # What each idea is worth
#
# The same frames in the cycle-accurate simulator with one idea of RT-NeRF switched off at a time, and with all off: the
# result of `rtnerf ablate`. The RTL can do all of these but uniform sampling, which is modelled only. In another order
# than the exact one the samples are composited in the wrong order: cycles only.
#
# Frames a second are at an assumed clock: no timing of the RTL is claimed.

# %%
import json
import os
from pathlib import Path

import matplotlib.pyplot as plt

from reports import table

source = Path(os.environ["RTNERF_BUILD"]) / "demo" / "ablation.json"
if not source.is_file():
    raise SystemExit(f"results must be made first by `make demo`, not missing: {source}")
result = json.loads(source.read_text())
runs = result["runs"]
base = runs["all on"]


table(
    ["quantity", "value"],
    [
        ["model", result["model"]],
        ["frames", f"{result['frames']} of {result['width_pixels']}x{result['height_pixels']} pixels"],
        ["configuration", result["config"]],
        ["memory", ", ".join(f"{name} {value}" for name, value in result["memory"].items())],
        ["assumed clock, MHz", f"{result['clock_hz'] / 1e6:.0f}"],
    ],
)

# %% [markdown]
# ## The table
#
# Frames a second and gigabytes a second are those of the frame where they are worst; the rest is summed over the
# frames.

# %%
columns = {"cycles": "frame_cycles", "samples": "samples", "shaded": "samples_shaded", "bytes": "dram_bytes"}
totals = {name: {column: sum(run[key]) for column, key in columns.items()} for name, run in runs.items()}
table(
    ["run", "frames/s", "GB/s", *columns, "cycles, all on = 1", "bytes, all on = 1", "busiest unit", "in the RTL"],
    [
        [
            name,
            f"{run['fps_at_clock_lowest']:.2f}",
            f"{run['dram_gigabytes_per_second']:.2f}",
            *(f"{totals[name][column]:,}" for column in columns),
            f"{totals[name]['cycles'] / totals['all on']['cycles']:.2f}",
            f"{totals[name]['bytes'] / totals['all on']['bytes']:.2f}",
            f"{run['bottleneck']} {run['bottleneck_share']:.0%}",
            "no" if run["modelled_only"] else "yes",
        ]
        for name, run in runs.items()
    ],
)

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 0.3 * len(runs) + 1), sharey=True, layout="constrained")
for axis, column in zip(axes, ("cycles", "bytes"), strict=True):
    axis.barh(list(runs), [totals[name][column] / totals["all on"][column] for name in runs], color="#2f6f4f")
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set_xlabel(f"{column}, all on = 1")
axes[0].invert_yaxis()
plt.show()
