"""PSNR of a float renderer against ground truth over all views of a data set, for either kind of shading."""

import numpy as np

from benchmarks.options import load_scene, print_result, scene_parser
from nerf.metrics import psnr
from nerf.render import cubes, uniform


def main() -> None:
    """Read the options, run, print."""
    parser = scene_parser("benchmarks.shading", __doc__)
    parser.add_argument("--size", type=int, default=200, help="width and height in pixels")
    parser.add_argument("--views", type=int, nargs="*", help="numbers of the views; default: all")
    parser.add_argument("--pipeline", choices=("uniform", "cubes"), default="cubes")
    options = parser.parse_args()
    model, cameras = load_scene(options)
    renderer = {"uniform": uniform, "cubes": cubes}[options.pipeline]
    views, counts = [], dict.fromkeys(("rays", "samples_shaded", "colours"), 0)
    for index in options.views or range(len(cameras)):
        picture = renderer.render(model, cameras.camera(index, options.size))
        truth = cameras.ground_truth(index, options.size, options.size)
        views.append({"view": index, "psnr_db": round(psnr(picture.rgb, truth), 3)})
        counts = {name: count + picture.statistics[name] for name, count in counts.items()}
    print_result(
        options,
        size_px=options.size,
        pipeline=options.pipeline,
        shading=model.shading,
        mean_psnr_db=round(float(np.mean([view["psnr_db"] for view in views])), 3),
        **counts,
        views=views,
    )


if __name__ == "__main__":
    main()
