"""Passes from tables of measured kernels."""

import numpy as np
import pytest

from rtnerf.base.errors import InputError
from rtnerf.base.folders import data_folder
from specdec.cost.architecture import Architecture
from specdec.cost.blocks import Attention, Experts, FeedForward, Recurrence
from specdec.cost.deployment import Deployment
from specdec.cost.hardware import HARDWARE
from specdec.cost.kernels import OTHERS, Curves, KernelPass, Kernels
from specdec.cost.models import MODELS
from specdec.cost.roofline import Roofline

GEMM = """gemm_dtype,m,n,k,latency
bfloat16,1,1024,1024,0.01
bfloat16,64,1024,1024,0.02
bfloat16,64,1024,1024,0.03
bfloat16,1,2048,1024,0.02
bfloat16,64,2048,1024,0.04
fp8,1,1024,1024,0.005
"""


@pytest.fixture
def kernels(tmp_path):
    (tmp_path / "gemm_perf.txt").write_text(GEMM)
    return Kernels(tmp_path)


@pytest.fixture(scope="module")
def measured():
    """The tables of an H100, or a skip that says what is missing."""
    pytest.importorskip("pyarrow")
    folder = data_folder() / "specdec" / "kernels" / "h100_sxm"
    if not folder.is_dir():
        pytest.skip(f"no kernels at {folder}: set RTNERF_DATA to the folder that holds specdec/")
    return Kernels(folder)


def test_curves_are_linear_between_points_and_go_on_beyond():
    curves = Curves(np.array([[8.0], [8.0], [8.0], [16.0]]), np.array([1.0, 5, 3, 1]), np.array([1.0, 3, 2, 7]))
    assert curves.nearest((9.0,)) == (8.0,)
    assert curves.nearest((100.0,)) is None
    assert [curves.ms((8.0,), place) for place in (0, 2, 4, 7)] == [1, 1.5, 2.5, 4]
    assert curves.ms((16.0,), 99) == 7


def test_products_are_scaled_from_the_nearest_matrix(kernels):
    assert kernels.product("bf16", 1, 1024, 1024) == pytest.approx(0.01)
    assert kernels.product("bf16", 64, 1024, 1024) == pytest.approx(0.02)  # Of two measurements the shorter.
    assert kernels.product("bf16", 1, 1536, 1024) == pytest.approx(0.015)
    assert kernels.product("bf16", 1, 16384, 16384) is None
    assert kernels.product("fp4", 1, 1024, 1024) is None


def test_a_block_is_its_kernels_and_what_no_table_has(kernels):
    model = Architecture(((FeedForward(1024, 1024, 2), 3),), 1024, 16)
    passes = KernelPass(kernels, model, HARDWARE["h100"])
    assert passes.body_ms(1, 1) == pytest.approx(3 * (2 * 0.01 + OTHERS * HARDWARE["h100"].block_us / 1000))


def test_what_the_tables_lack_is_the_rooflines(kernels):
    for block in (Attention(1024, 8, 8, 128), Recurrence(1024, 1e7, 2048, 128), Experts(1024, 512, 8, 2)):
        model = Architecture(((block, 2),), 1024, 16)
        pair = KernelPass(kernels, model, HARDWARE["h100"], 100), Roofline(model, HARDWARE["h100"], 100)
        assert pair[0].body_ms(4, 2) == pytest.approx(pair[1].body_ms(4, 2))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gemm_perf.csv", "gemm_dtype,m,n\nbfloat16,1,2\n", "kernels must be tables with gemm_dtype, n, k, m, latency"),
        ("gemm_perf.csv", GEMM.replace("0.01", "fast"), "kernels must be tables with gemm_dtype"),
        ("other.csv", "", "kernels must be a folder with gemm_perf.parquet, .txt or .csv, not"),
    ],
)
def test_bad_tables_are_refused(name, text, message, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        Kernels(tmp_path).product("bf16", 1, 1024, 1024)


def test_tables_without_sense_are_left_out(tmp_path):
    (tmp_path / "gemm_perf.csv").write_text("gemm_dtype,m,n,k,latency\nbfloat16,1,8,8,nan\nbfloat16,1,8,8,-1\n")
    assert Kernels(tmp_path).product("bf16", 1, 8, 8) is None


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "machines"), [("llama-3.1-8b", 1), ("llama-3.1-70b", 4), ("qwen3-32b", 2), ("qwen3-235b-a22b", 8)]
)
def test_the_roofline_agrees_with_measured_kernels(name, machines, measured):
    """Independent of one another but for a third of a small pass: measured on H100 by AIConfigurator for vLLM 0.19."""
    arguments = MODELS[name], HARDWARE["h100"], 1000, None, Deployment(machines)
    passes, roofline = KernelPass(measured, *arguments), Roofline(*arguments)
    errors = [roofline.ms(b, n) / passes.ms(b, n) - 1 for b, n in ((1, 1), (8, 1), (64, 1), (1, 8), (8, 8), (256, 4))]
    assert float(np.median(np.abs(errors))) < 0.10
    assert max(map(abs, errors)) < 0.25
