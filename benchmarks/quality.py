"""PSNR of the integer pipeline (L2) and of the reference (L0) against ground truth, over all views of a data set."""

import numpy as np

import rtnerf
from benchmarks.options import load_scene, print_result, scene_parser
from nerf.metrics import psnr


def main() -> None:
    """Read the options, run, print."""
    parser = scene_parser("benchmarks.quality", __doc__)
    parser.add_argument("--size", type=int, default=100, help="width and height in pixels")
    options = parser.parse_args()
    model, cameras = load_scene(options)
    job = rtnerf.prepare(model, "tiny")
    views = []
    for index in range(len(cameras)):
        camera = cameras.camera(index, options.size)
        truth = cameras.ground_truth(index, options.size, options.size)
        reference, integers = (job.render(camera, pipeline).rgb for pipeline in ("uniform", "integer"))
        views.append(
            {
                "view": index,
                "psnr_reference_db": round(psnr(reference, truth), 3),
                "psnr_integer_db": round(psnr(integers, truth), 3),
                "psnr_integer_vs_reference_db": round(psnr(integers, reference), 2),
            }
        )
    losses = [view["psnr_reference_db"] - view["psnr_integer_db"] for view in views]
    print_result(
        options,
        size_px=options.size,
        worst_loss_db=round(max(losses), 3),
        mean_loss_db=round(float(np.mean(losses)), 4),
        encoded_bytes=job.encoded.size_table()["total"],
        image_bytes=len(job.scene.data),
        views=views,
    )


if __name__ == "__main__":
    main()
