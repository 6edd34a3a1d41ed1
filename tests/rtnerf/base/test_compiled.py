"""Machine code that is kept between runs: never stale, never in the way of another process or version."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import grimp
import numpy as np
import pytest
from numba import TypingError

from rtnerf.base import code_cache, folders
from rtnerf.base.compiled import compiled

ROOT = Path(__file__).resolve().parents[3]

# Each prints a result, and how many functions were compiled for it, not found.
DENSITY_SUM = """
import numpy as np
from nerf.golden.frame import density_sum as function
planes, lines = (np.ones((2, 2, 1), np.int8),) * 3, (np.ones((2, 1), np.int8),) * 3
print(function(planes, lines, 0, 0, 0), len(function.stats.cache_misses))
"""
TABLE_LIMIT = """
from nerf.golden.density import table_position as function
print(function(1 << 40, 1 << 20, 0), len(function.stats.cache_misses))
"""
FIRST_BEAT = """
from sim.memory import dram, memory
from sim.parts.streams import ANSWER, BURST, WRITE, WRITE_DATA, new
state, burst = memory.new(dram.Dram()), new(BURST)
burst["valid"] = 1
memory.step(0, state, burst, new(WRITE), new(WRITE_DATA), new(ANSWER))
print(state["due"][0, 0], len(memory.step.stats.cache_misses))
"""
PRODUCT = "nerf/golden/interpolator.py", "return p * interpolate_line", "return 2 * p * interpolate_line"
ENTRIES = "nerf/contract/formats.py", "ALPHA_ENTRIES = 1024", "ALPHA_ENTRIES = 512"
ACCESS = "sim/memory/dram.py", "end = transfer + state.burst", "end = transfer + state.burst + 1000 * state.cycle"


def copy_project(folder):
    """Copy the sources that the programs need."""
    for package in ("nerf", "rtnerf", "sim"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "data"))
    return folder


def edit(folder, file, old, new):
    text = (folder / file).read_text()
    assert text.count(old) == 1
    (folder / file).write_text(text.replace(old, new))


def start(program, folder, cache, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-B", "-c", program, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(program, folder, cache):
    """Return what a program prints, as integers, and its lines on the standard error."""
    child = start(program, folder, cache)
    out, error = child.communicate(timeout=300)
    assert child.returncode == 0, error
    return [int(word) for word in out.split()], error.splitlines()


@pytest.mark.parametrize(
    ("program", "change", "before", "after"),
    [
        (DENSITY_SUM, PRODUCT, 768, 1536),
        (TABLE_LIMIT, ENTRIES, (1024 << 8) - 1, (512 << 8) - 1),
        (FIRST_BEAT, ACCESS, 85, 1085),
    ],
    ids=["golden", "contract", "sim"],
)
def test_an_edit_changes_the_callers_with_the_cache_kept(tmp_path, program, change, before, after):
    project = copy_project(tmp_path / "project")
    assert run(program, project, tmp_path / "cache") == ([before, 1], [])
    assert run(program, project, tmp_path / "cache") == ([before, 0], [])
    edit(project, *change)
    assert run(program, project, tmp_path / "cache") == ([after, 1], [])


def test_two_versions_side_by_side_keep_their_own(tmp_path):
    old, new = copy_project(tmp_path / "old"), copy_project(tmp_path / "new")
    edit(new, *PRODUCT)
    expected = {old: 768, new: 1536}
    for misses in (1, 0):
        for version, value in expected.items():
            assert run(DENSITY_SUM, version, tmp_path / "cache") == ([value, misses], [])


def test_a_package_that_hides_another_is_a_version_of_its_own(tmp_path):
    shutil.copytree(ROOT / "nerf", tmp_path / "nerf", ignore=shutil.ignore_patterns("__pycache__", "data"))
    edit(tmp_path, *PRODUCT)
    program = f"import sys; sys.path.append({str(ROOT)!r})\n{DENSITY_SUM}"
    assert run(program, ROOT, tmp_path / "cache") == ([768, 1], [])
    assert run(program, tmp_path, tmp_path / "cache") == ([1536, 1], [])


def test_what_is_compiled_after_an_edit_is_not_kept(tmp_path):
    project, cache = copy_project(tmp_path / "project"), tmp_path / "cache"
    file = project / PRODUCT[0]
    late = f"""
import nerf.golden.frame
file = __import__("pathlib").Path({str(file)!r})
file.write_text(file.read_text().replace({PRODUCT[1]!r}, {PRODUCT[2]!r}))
{DENSITY_SUM}"""
    assert run(late, project, cache) == ([768, 1], [])
    assert run(DENSITY_SUM, project, cache) == ([1536, 1], [])


def test_processes_that_compile_at_once_keep_all_signatures(tmp_path):
    program = """
import sys, time
import numpy as np
from nerf.golden.interpolator import interpolate_line as function
types = [getattr(np, name) for name in sys.argv[2:]]
time.sleep(max(0, float(sys.argv[1]) - time.time()))
print(*(int(function(kind(0), kind(16), kind(4))) for kind in types), len(function.stats.cache_misses))
"""
    kinds = ["int8", "int16", "int32", "int64"]
    together = time.time() + 5
    children = [start(program, ROOT, tmp_path, together, *order) for order in (kinds, kinds[::-1])]
    for child in children:
        assert child.communicate(timeout=300)[0].split()[:-1] == ["4"] * 4
    assert start(program, ROOT, tmp_path, 0, *kinds).communicate(timeout=300)[0].split() == [*["4"] * 4, "0"]


def test_a_cache_that_cannot_be_written_costs_time_and_one_line(tmp_path):
    (tmp_path / "file").touch()
    printed, errors = run(DENSITY_SUM, ROOT, tmp_path / "file" / "cache")
    assert printed == [768, 1]
    (line,) = errors
    assert line.startswith(f"note: compiled code cannot be kept in {tmp_path / 'file' / 'cache'}")


def test_a_kept_file_that_is_cut_off_is_compiled_anew(tmp_path):
    assert run(TABLE_LIMIT, ROOT, tmp_path) == ([(1024 << 8) - 1, 1], [])
    (kept,) = tmp_path.glob("*/*")
    kept.write_bytes(kept.read_bytes()[:100])
    assert run(TABLE_LIMIT, ROOT, tmp_path) == ([(1024 << 8) - 1, 1], [])


def test_old_versions_go_and_those_used_last_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    for package in ("sim", "nerf.golden"):
        for age in range(20):
            (tmp_path / f"{package}-{age}").mkdir()
            os.utime(tmp_path / f"{package}-{age}", (time.time() - age,) * 2)
    new = code_cache.version_folder.__wrapped__("sim")
    new.mkdir()
    stay = {tmp_path / f"sim-{age}" for age in range(code_cache.VERSIONS_KEPT - 1)}
    assert set(tmp_path.glob("sim-*")) == {*stay, new}
    assert len(list(tmp_path.glob("nerf.golden-*"))) == 20
    os.utime(new, (0, 0))
    assert code_cache.version_folder.__wrapped__("sim") == new
    assert time.time() - new.stat().st_mtime < 60


def test_one_place_says_where_compiled_code_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/given")
    assert code_cache.cache_folder() == Path("/given")
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    assert code_cache.cache_folder() == ROOT / "build" / "numba"
    # Installed, no checkout is around the package.
    monkeypatch.setattr(folders, "ROOT", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/cache")
    assert code_cache.cache_folder() == Path("/home/cache/rtnerf/numba")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home")
    monkeypatch.setattr(sys, "platform", "linux")
    assert code_cache.cache_folder() == Path("/home/.cache/rtnerf/numba")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert code_cache.cache_folder() == Path("/home/Library/Caches/rtnerf/numba")


@pytest.mark.parametrize("setting", ["NUMBA_BOUNDSCHECK", "NUMBA_OPT"])
def test_settings_of_the_compiler_are_part_of_the_version(setting, monkeypatch):
    before = code_cache.version_folder.__wrapped__("nerf.golden")
    monkeypatch.setenv(setting, "1")
    assert code_cache.version_folder.__wrapped__("nerf.golden") != before


def test_compiled_modules_import_only_what_their_digest_covers():
    graph = grimp.build_graph("rtnerf", "nerf", "rtl", "sim", "cosim", "specdec")
    modules = graph.find_modules_that_directly_import("rtnerf.base.compiled")
    assert len(modules) > 30
    for module in modules:
        covered = code_cache.SOURCES[code_cache.package_of(module)]
        for reached in graph.find_upstream_modules(module):
            assert any(f"{reached}.".startswith(f"{package}.") for package in covered), f"{module} reaches {reached}"


def test_what_allocates_does_not_compile_without_reference_counts():
    @compiled
    def allocate():
        return np.zeros(3)[0]

    with pytest.raises(TypingError):
        allocate()
