# %% [markdown]
# # The ladder of evidence
#
# One view of one trained scene, rendered at every rung: the float reference (L0), the object-order renderer (L1), the
# integer golden model (L2) and the accelerator's RTL in a Verilog simulator (L4). Every rung is held to the one above:
# floats to floats by PSNR, integers to integers bit for bit.
#
# The numbers come from the result files of `make demo`; each names the command that wrote it.

# %%
import json
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from nerf.metrics import psnr
from reports import table

results = Path(os.environ["RTNERF_BUILD"]) / "demo"
RUNGS = {"uniform": "L0 reference", "cubes": "L1 object order", "integer": "L2 integer", "rtl": "L4 RTL"}
missing = [name for name in RUNGS if not (results / f"{name}.npy").is_file()]
if missing:
    raise SystemExit(f"results must be made first by `make demo`, not missing: {', '.join(missing)} in {results}")
pictures = {name: np.load(results / f"{name}.npy") for name in RUNGS}
facts = {name: json.loads((results / f"{name}.json").read_text()) for name in RUNGS}


# %% [markdown]
# ## Pictures and errors
#
# Second row: absolute difference to the rung above, the largest over the three channels. The scale of each map is
# printed above it; the last map is zero by proof, not by rounding.

# %%
names = list(RUNGS)
figure, axes = plt.subplots(2, len(names), figsize=(3.2 * len(names), 6.6), layout="constrained")
for column, name in enumerate(names):
    axes[0, column].imshow(np.clip(pictures[name], 0, 1), interpolation="nearest")
    axes[0, column].set_title(RUNGS[name])
    above = pictures[names[max(column - 1, 0)]]
    error = np.abs(pictures[name] - above).max(axis=-1)
    largest = float(error.max())
    axes[1, column].imshow(error, cmap="magma", vmin=0, vmax=largest or 1, interpolation="nearest")
    axes[1, column].set_title("-" if column == 0 else f"largest {largest:.2g}")
for axis in axes.flat:
    axis.set_xticks([])
    axis.set_yticks([])
plt.show()

# %% [markdown]
# ## Rung against rung

# %%
rows = []
for column, name in enumerate(names):
    fact = facts[name]
    truth = fact.get("psnr_db")
    above = "-" if column == 0 else f"{psnr(pictures[name], pictures[names[column - 1]]):.1f}"
    rows.append([RUNGS[name], "-" if truth is None else f"{truth:.2f}", above, f"{fact['seconds']:.1f}"])
table(["rung", "PSNR against ground truth, dB", "PSNR against the rung above, dB", "seconds"], rows)

# %% [markdown]
# ## RTL against golden model
#
# Every probed value of every sample is compared, not only the pixels.

# %%
rtl = facts["rtl"]
table(
    ["quantity", "value"],
    [
        ["view", f"{rtl['width_pixels']}x{rtl['height_pixels']} pixels, configuration {rtl['config']}"],
        ["pixels that differ", f"{rtl['pixel_mismatches']} of {rtl['pixels']}"],
        *[[f"{stage} that differ", count] for stage, count in rtl["value_mismatches"].items()],
        ["recorded transactions", f"{rtl['transactions']:,}"],
        ["cycles", f"{rtl['cycles_rtl']:,}"],
        ["samples composited / shaded", f"{rtl['samples']:,} / {rtl['samples_shaded']:,}"],
        ["memory read / written, bytes", f"{rtl['dram_read_bytes']:,} / {rtl['dram_write_bytes']:,}"],
        ["PSNR against the float reference, dB", f"{rtl['psnr_vs_float_db']:.2f}"],
        ["first difference", rtl["first_difference"] or "none"],
    ],
)

# %% [markdown]
# ## What the hybrid format stores
#
# Bytes a tensor, block headers included, if every block were dense, a bitmap, or coordinates, and as the hybrid format
# that takes the smallest form of each block and no bytes for positions that are zero in all components.

# %%
tensors = json.loads((results / "encode.json").read_text())["tensors"]
forms = ("dense", "bitmap", "coordinate", "hybrid")
table(
    ["tensor", "values", "zeros, %", *(f"{form}, bytes" for form in forms), "hybrid / dense"],
    [
        [
            name,
            f"{row['values']:,}",
            f"{100 * (1 - row['nonzeros'] / row['values']):.1f}",
            *(f"{row[f'{form}_bytes']:,}" for form in forms),
            f"{row['hybrid_bytes'] / row['dense_bytes']:.2f}",
        ]
        for name, row in tensors.items()
    ],
)

# %%
bars = {name: row for name, row in tensors.items() if "plane" in name}
figure, axis = plt.subplots(figsize=(9, 3.2), layout="constrained")
for offset, form in enumerate(forms):
    heights = [row[f"{form}_bytes"] / row["dense_bytes"] for row in bars.values()]
    axis.bar(np.arange(len(bars)) + 0.2 * (offset - 1.5), heights, width=0.2, label=form)
axis.set_xticks(range(len(bars)), [name.replace("_plane_", "\nplane ") for name in bars])
axis.set_ylabel("bytes / dense bytes")
axis.legend(ncols=4, frameon=False)
plt.show()
