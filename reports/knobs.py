# %% [markdown]
# # Quality against work
#
# Each point is a model after one knob of `rtnerf tune`, or several: what it costs in PSNR, and what it saves in cycles.
# Frames of 200x200 in `edge` with LPDDR4 at an assumed 1 GHz. A search over configurations is `rtnerf optimise`.

# %%
import matplotlib.pyplot as plt

from reports import figure, kept, table

results = {"lego": kept("knobs_lego"), "embedded": kept("knobs_embedded")}
drawn, axes = plt.subplots(1, len(results), figsize=(10, 4.2), layout="constrained")
for axis, (scene, result) in zip(axes, results.items(), strict=True):
    rows = result["rows"]
    axis.scatter(
        [row["fps"] for row in rows.values()], [row["psnr_db"] for row in rows.values()], color="#909090", s=18
    )
    for name in ("none", "recommended"):
        row = rows[name]
        axis.scatter(row["fps"], row["psnr_db"], color="#2f8f7f", s=40)
        axis.annotate(name, (row["fps"], row["psnr_db"]), xytext=(5, -12), textcoords="offset points")
    axis.axhline(result["psnr_reference_db"], color="#808080", linewidth=0.6)
    axis.set_xlabel(f"{scene}: frames a second at an assumed 1 GHz")
axes[0].set_ylabel("PSNR, dB")
figure(drawn, "PSNR against frames a second of each knob; the line is the untuned float model", list(results.values()))

# %% [markdown]
# ## All points

# %%
for scene, result in results.items():
    table(
        [f"{scene}: knob", "PSNR, dB", "frames/s", "samples", "shaded", "live cubes", "factor bytes", "cycles"],
        [
            [
                name,
                f"{row['psnr_db']:.2f}",
                f"{row['fps']:.0f}",
                *(f"{row[key]:,}" for key in ("samples", "samples_shaded", "live_cubes", "factor_bytes", "cycles")),
            ]
            for name, row in result["rows"].items()
        ],
        result,
    )

# %% [markdown]
# ## From untuned to deferred
#
# lego and the embedded scene at 800x800, three views each.

# %%
for scene in ("lego", "embedded"):
    frames = kept(f"frames_{scene}")
    table(
        [f"{scene}: model", "view", "configuration", "frames/s", "busiest unit", "busy, %", "GB/s", "loss of PSNR, dB"],
        [
            [
                name.removesuffix(".safetensors"),
                one["view"],
                one["config"],
                one["fps"],
                one["busiest"],
                f"{100 * one['busy_share']:.1f}",
                one["gigabytes_per_second"],
                one["loss_db"],
            ]
            for name, rows in frames["frames"].items()
            for one in rows
        ],
        frames,
    )
