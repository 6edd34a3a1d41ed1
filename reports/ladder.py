# %% [markdown]
# # The ladder of evidence
#
# One view of one trained scene, rendered at every rung: the float reference (L0), the object-order renderer (L1), the
# integer golden model (L2) and the accelerator's RTL in a Verilog simulator (L4). Every rung is held to the one above:
# floats to floats by PSNR, integers to integers bit for bit.
#
# The numbers come from the result files of `make demo`; each names the command that wrote it.

# %%
import matplotlib.pyplot as plt
import numpy as np

from nerf.metrics import psnr
from reports import build_folder, figure, kept, made, table

RUNGS = {"uniform": "L0 reference", "cubes": "L1 object order", "integer": "L2 integer", "rtl": "L4 RTL"}
facts = {name: made(f"demo/{name}.json") for name in RUNGS}
pictures = {name: np.load(build_folder() / "demo" / f"{name}.npy") for name in RUNGS}


# %% [markdown]
# ## Pictures and errors
#
# Second row: absolute difference to the rung above, the largest over the three channels. The scale of each map is
# printed above it; the last map is zero by proof, not by rounding.

# %%
names = list(RUNGS)
shown, axes = plt.subplots(2, len(names), figsize=(3.2 * len(names), 6.6), layout="constrained")
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
figure(shown, "Pictures of all rungs, and the difference of each to the rung above", list(facts.values()))

# %% [markdown]
# ## Rung against rung

# %%
rows = []
for column, name in enumerate(names):
    fact = facts[name]
    truth = fact.get("psnr_db")
    above = "-" if column == 0 else f"{psnr(pictures[name], pictures[names[column - 1]]):.1f}"
    rows.append([RUNGS[name], "-" if truth is None else f"{truth:.2f}", above, f"{fact['seconds']:.1f}"])
table(
    ["rung", "PSNR against ground truth, dB", "PSNR against the rung above, dB", "seconds"], rows, list(facts.values())
)

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
    rtl,
)

# %% [markdown]
# ## What the integers cost
#
# PSNR against the data set's pictures, lego, 100x100: the float reference and the integers.

# %%
quality = kept("quality_lego")
table(
    ["view", "L0, dB", "L2, dB", "loss, dB", "L2 against L0, dB"],
    [
        [
            row["view"],
            row["psnr_reference_db"],
            row["psnr_integer_db"],
            f"{row['psnr_reference_db'] - row['psnr_integer_db']:+.3f}",
            row["psnr_integer_vs_reference_db"],
        ]
        for row in quality["views"]
    ],
    quality,
)
