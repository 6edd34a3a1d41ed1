"""The accelerator in Amaranth: one file a block, named as its function in `nerf.golden`; `rtl.accelerator` wires them."""
