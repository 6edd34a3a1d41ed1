# %% [markdown]
# # RT-NeRF, open and executable
#
# A trained TensoRF goes in; Verilog of a complete accelerator comes out; a Verilog simulator renders the scene with it,
# and every pixel, sample and weight on the way equals an integer model, bit for bit. A fast simulator says in which
# cycle each of them comes, and the RTL agrees on every one.

# %%
from reports import build_folder, cards, figure, kept, made

lego, exact = kept("frames_lego"), [kept(f"exact_{name}") for name in ("lego", "embedded", "lego_deferred")]
exact.append(kept("exact_embedded_deferred"))
quality, silicon, faults, mutants = kept("quality_lego"), kept("synthesis"), kept("faults"), kept("mutations")
rtl, frame = made("demo/rtl.json"), made("demo/simulate.json")

runs = [run for result in exact for run in result["exact"]]
rates = [one["fps"] for one in lego["frames"]["deferred_tuned.safetensors"]]
planted = [row for row in mutants if not row["mutant"].endswith(".none")]
noticed = [row for row in planted if row["mismatches"] or row["cycles_rtl"] != row["cycles_sim"]]
asap7 = silicon["runs"]["tiny asap7"]
cards(
    [
        (
            f"{rtl['pixel_mismatches']} of {rtl['pixels']:,}",
            "pixels of the picture below in which the RTL differs from the integer model",
            "ladder",
            rtl,
        ),
        (
            f"{sum(run['transaction_mismatches'] for run in runs)} of {sum(run['transactions'] for run in runs):,}",
            f"transfers in another cycle than the simulator says, in {len(runs)} runs of the RTL",
            "performance",
            exact,
        ),
        (
            f"{min(rates):.0f} to {max(rates):.0f} frames/s",
            "of lego at 800x800, deferred shading, `edge-deferred`, at an assumed 1 GHz",
            "ablation",
            lego,
        ),
        (
            f"{quality['mean_loss_db']:.3f} dB",
            f"mean loss of PSNR by the integers, {len(quality['views'])} test views of lego",
            "ladder",
            quality,
        ),
        (
            f"{asap7['clock_mhz']:.0f} MHz",
            f"that the slowest unit of `tiny` allows in ASAP7 before layout; {asap7['logic_mm2']:.3f} mm2 of logic",
            "silicon",
            silicon,
        ),
        (f"{len(noticed)} of {len(planted)}", "planted faults of one cycle that are noticed", "performance", mutants),
        (f"{faults['bad']} of {faults['faults']}", "damages of memory and bus with a bad end", "performance", faults),
        (
            f"{frame['cycles']:,}",
            f"cycles of the frame below in `{frame['config']}`; busiest: {frame['bottleneck']}",
            "performance",
            frame,
        ),
    ]
)

# %% [markdown]
# ## The picture, at every rung
#
# Float reference, object order, integers, RTL: the embedded model, as `make demo` has just rendered it.

# %%
import matplotlib.pyplot as plt
import numpy as np

shown, axes = plt.subplots(1, 4, figsize=(10, 2.8), layout="constrained")
rungs = {"uniform": "L0 float", "cubes": "L1 object order", "integer": "L2 integers", "rtl": "L4 RTL"}
for axis, (name, title) in zip(axes, rungs.items(), strict=True):
    axis.imshow(np.clip(np.load(build_folder() / "demo" / f"{name}.npy"), 0, 1), interpolation="nearest")
    axis.set_title(title)
    axis.set_axis_off()
figure(shown, "The embedded model at four rungs of the ladder", [made(f"demo/{name}.json") for name in rungs])
