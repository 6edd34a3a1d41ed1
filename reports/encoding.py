# %% [markdown]
# # What the hybrid format stores
#
# Bytes a tensor, block headers included, if every block were dense, a bitmap, or coordinates, and as the hybrid format
# that takes the smallest form of each block and no bytes for positions that are zero in all components.

# %%
import matplotlib.pyplot as plt
import numpy as np

from reports import figure, kept, made, table

encoded, quality = made("demo/encode.json"), kept("quality_lego")
tensors = encoded["tensors"]
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
    encoded,
)

# %%
bars = {name: row for name, row in tensors.items() if "plane" in name}
shown, axis = plt.subplots(figsize=(9, 3.2), layout="constrained")
for offset, form in enumerate(forms):
    heights = [row[f"{form}_bytes"] / row["dense_bytes"] for row in bars.values()]
    axis.bar(np.arange(len(bars)) + 0.2 * (offset - 1.5), heights, width=0.2, label=form)
axis.set_xticks(range(len(bars)), [name.replace("_plane_", "\nplane ") for name in bars])
axis.set_ylabel("bytes / dense bytes")
axis.legend(ncols=4, frameon=False)
figure(shown, "Bytes of each plane in each form, over its dense bytes", encoded)

# %% [markdown]
# ## lego
#
# The same for the checkpoint of the original program, all factors together.

# %%
whole = quality["encoded_bytes"]
table(
    ["form", "bytes", "form / dense"],
    [[form, f"{whole[f'{form}_bytes']:,}", f"{whole[f'{form}_bytes'] / whole['dense_bytes']:.2f}"] for form in forms],
    quality,
)
table(
    ["form chosen", "blocks"],
    [[form, f"{whole[f'{form}_blocks']:,}"] for form in ("dense", "bitmap", "coordinate")],
    quality,
)
