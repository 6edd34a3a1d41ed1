# %% [markdown]
# # Beside published accelerators
#
# Each cell says whether it is stated in its source or derived. Workloads, scenes and sizes of the pictures differ, so
# this is no ranking. Energy a frame, where it is not stated, is power over frames a second.

# %%
from reports import kept, made, table

synthesis, frame, peers = kept("synthesis"), made("demo/simulate.json"), kept("peers")
run, energy = synthesis["runs"]["tiny asap7"], frame["energy_mj"]
columns = {
    "node_nm": "node, nm", "clock_mhz": "clock, MHz", "area_mm2": "area, mm2", "power_w": "power, W", "fps": "frames/s",
    "mj_a_frame": "mJ a frame",
}  # fmt: skip


def shown(cells):
    cells = dict(cells)
    if "mj_a_frame" not in cells and {"power_w", "fps"} <= cells.keys():
        cells["mj_a_frame"] = [1000 * cells["power_w"][0] / cells["fps"][0], "derived"]
    return [f"{float(f'{cells[name][0]:.4g}'):,g} {cells[name][1]}" if name in cells else "" for name in columns]


ours = {
    "node_nm": [7, "predictive"],
    "clock_mhz": [run["clock_mhz_with_wires"], "derived"],
    "area_mm2": [run["area_mm2"], "derived"],
}
if energy is not None:
    ours |= {"fps": [frame["fps_at_library_clock"], "derived"], "mj_a_frame": [energy[1], "derived, upper"]}
size = f"{frame['width_pixels']}x{frame['height_pixels']}"
table(
    ["design", "workload", *columns.values(), "source"],
    [
        *([one["name"], one["workload"], *shown(one["cells"]), one["source"]] for one in peers["designs"]),
        ["this one, `tiny`", f"TensoRF, cube by cube, {size}", *shown(ours), "the files below"],
    ],
    [peers, synthesis, frame],
)
