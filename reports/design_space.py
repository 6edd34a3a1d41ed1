# %% [markdown]
# # The design space
#
# A grid of configurations round `edge`, and presets, each simulated exactly by `rtnerf sweep`: what a frame of the
# embedded scene takes, and how many bytes the configuration holds on chip. The presets differ from each other in other
# fields, too. Below, what a search (`rtnerf optimise`) found around `edge-deferred`.

# %%
import matplotlib.pyplot as plt
import numpy as np

from reports import figure, kept, table

sweep = kept("design_space")
points, fields = sweep["points"], list(sweep["fields"])
presets = {point["preset"]: point for point in points if point["preset"]}


def beaten(point):
    return any(
        other["fps"] >= point["fps"]
        and other["on_chip_bytes"] <= point["on_chip_bytes"]
        and (other["fps"], other["on_chip_bytes"]) != (point["fps"], point["on_chip_bytes"])
        for other in points
    )


front = sorted((point for point in points if not beaten(point)), key=lambda point: point["on_chip_bytes"])
drawn, axis = plt.subplots(figsize=(8, 4.2), layout="constrained")
axis.scatter([point["on_chip_bytes"] / 1e6 for point in points], [point["fps"] for point in points], color="#909090")
axis.step(
    [point["on_chip_bytes"] / 1e6 for point in front], [point["fps"] for point in front], where="post", color="#2f8f7f"
)
for name, point in presets.items():
    axis.scatter(point["on_chip_bytes"] / 1e6, point["fps"], color="#2f8f7f", s=60)
    axis.annotate(name, (point["on_chip_bytes"] / 1e6, point["fps"]), xytext=(6, -12), textcoords="offset points")
axis.set_xlabel("MB on chip")
axis.set_ylabel(f"frames a second at an assumed {sweep['clock_mhz']:.0f} MHz")
figure(
    drawn,
    f"Frames a second of {sweep['frame']} over bytes on chip; the line is the front, whose points no other one beats",
    sweep,
)

# %% [markdown]
# ## What each field is worth
#
# From its least to its largest value in the grid, all others kept: the mean of the ratios.

# %%
grid = {tuple(point["fields"][name] for name in fields): point for point in points if point["in_grid"]}


def worth(field, quantity):
    place = fields.index(field)
    values = sorted({key[place] for key in grid})
    ratios = [
        grid[(*key[:place], values[-1], *key[place + 1 :])][quantity] / point[quantity]
        for key, point in grid.items()
        if key[place] == values[0]
    ]
    return values, np.mean(ratios)


table(
    ["field", "from", "to", "frames/s, times", "bytes on chip, times", "DRAM bytes, times"],
    [
        [
            f"`{field}`",
            *(f"{value}" for value in (worth(field, "fps")[0][0], worth(field, "fps")[0][-1])),
            *(f"{worth(field, quantity)[1]:.3f}" for quantity in ("fps", "on_chip_bytes", "dram_bytes")),
        ]
        for field in fields
    ],
    sweep,
)

# %% [markdown]
# ## All points

# %%
table(
    ["point", *fields, "cycles", "frames/s", "bytes on chip", "DRAM bytes", "busiest unit", "on the front"],
    [
        [
            f"`{point['preset']}`" if point["preset"] else "grid",
            *(f"{point['fields'][name]}" for name in fields),
            *(f"{point['cycles']:,}", f"{point['fps']:.1f}", f"{point['on_chip_bytes']:,}", f"{point['dram_bytes']:,}"),
            point["bottleneck"],
            "no" if beaten(point) else "yes",
        ]
        for point in points
    ],
    sweep,
)

# %% [markdown]
# ## A search, and a preset on its front
#
# `rtnerf optimise` over sixteen fields of `edge-deferred`: frames a second, area and energy together. A point is on the
# front when no other one is at least as good in all three. Area and energy of the points are estimated between what was
# synthesised; before: the preset as it was before its blocks were cut into more steps and its lanes doubled.

# %%
search = kept("search")
before = search["edge-deferred before part two"]
named = {"edge-deferred": search["edge-deferred"], "edge-deferred before part two": before}
drawn, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained", sharey=True)


def area(point):
    return point["area_mm2"]


def energy(point):
    return sum(point["energy_mj"]) / 2


def times_better(point, quantity):
    return before["cycles"] * quantity(before) / (point["cycles"] * quantity(point))


for axis, quantity, label in (
    (axes[0], area, "mm2 in ASAP7, logic and memories"),
    (axes[1], energy, "mJ a frame, middle of the range"),
):
    for some, colour in ((search["others"], "#909090"), (search["front"], "#2f8f7f")):
        axis.scatter([quantity(point) for point in some], [point["fps"] for point in some], color=colour, s=14)
    for name, point in named.items():
        axis.scatter(quantity(point), point["fps"], color="#b5533c", s=60)
        axis.annotate(name, (quantity(point), point["fps"]), xytext=(6, -12), textcoords="offset points", fontsize=8)
    axis.set_xlabel(label)
axes[0].set_ylabel(f"frames a second at an assumed {search['clock_mhz']:.0f} MHz")
figure(
    drawn,
    f"What {search['points']} points of a search take, {search['frame']}; green: the front, red: presets",
    search,
)

# %%
table(
    ["point", "frames/s", "mm2", "mJ", "bytes on chip", "energy x delay, times better", "area x delay, times better"],
    [
        [
            name,
            f"{point['fps']:.1f}",
            f"{area(point):.3f}",
            f"{point['energy_mj'][0]:.1f} to {point['energy_mj'][1]:.1f}",
            f"{point['on_chip_bytes']:,}",
            f"{times_better(point, energy):.2f}",
            f"{times_better(point, area):.2f}",
        ]
        for name, point in [
            *named.items(),
            *((f"front {number}", point) for number, point in enumerate(search["front"], 1)),
        ]
    ],
    search,
)
