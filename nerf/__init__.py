"""The algorithm: TensoRF models, checkpoints, cameras, training and the float renderers.

Modules are imported one by one (``from nerf.model import TensorfModel``): this package file stays
empty so that ``nerf.contract`` and ``nerf.golden`` load without PyTorch.
"""
