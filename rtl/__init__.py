"""The accelerator in Amaranth: one file a block, named as in `nerf.golden`; `rtl.accelerator` wires them."""
