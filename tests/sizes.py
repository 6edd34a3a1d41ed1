"""Configurations in which every window, queue and look-ahead, and the network, are other than by default."""

from dataclasses import replace

from nerf.contract.config import AcceleratorConfig

TINY = AcceleratorConfig()
SMALL = replace(
    TINY, name="small", buffer_window=4, row_queue=4, list_queue=32, record_queue=4, ray_queue=4, lane_queue=4,
    cube_queue=4, header_queue=4, job_queue=4, write_bursts=4,
)  # fmt: skip
LARGE = replace(
    TINY, name="large", tiles=8, density_components=32, appearance_components=80,
    features=25, hidden=256, feature_bands=6, view_bands=1,
    sample_lanes=2, density_lanes=2,
    buffer_window=16, row_queue=16, list_queue=256, record_queue=16, ray_queue=32, lane_queue=16,
    cube_queue=16, header_queue=32, job_queue=32, write_bursts=8,
)  # fmt: skip
SIZES = (TINY, SMALL, LARGE)
