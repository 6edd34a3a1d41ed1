# %% [markdown]
# # Eight scenes
#
# Each trained, tuned and fine-tuned for deferred shading, encoded and simulated with each idea switched off, by
# `rtnerf benchmark scenes --out build/scenes --json build/scenes/scenes.json`; the kept result, where it was not run.

# %%
from reports import made_or_kept, table

result = made_or_kept("scenes/scenes.json")
table(
    [
        "scene",
        "L0, dB",
        "L2, dB",
        "tuned, dB",
        "deferred, dB",
        "trained, frames/s",
        "tuned",
        "deferred",
        "MB",
        "busiest unit",
    ],
    [
        [
            row["scene"],
            *(f"{row['psnr_db'][rung]:.2f}" for rung in ("l0", "l2", "tuned", "deferred")),
            *(f"{row['frames'][kind]['fps_at_clock_lowest']:.1f}" for kind in ("trained", "tuned", "deferred")),
            f"{row['frames']['deferred']['image_bytes'] / 1e6:.2f}",
            row["frames"]["deferred"]["bottleneck"],
        ]
        for row in result["scenes"]
    ],
    result,
)
