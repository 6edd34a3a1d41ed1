import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["setuptools"]["packages"]
PROJECT_ROOTS = ("nerf", "rtl", "sim", "cosim", "specdec", "reports", "rtnerf")

# What each package may import besides itself and the standard library.
MAY_IMPORT = {
    "rtnerf.base": {"numpy", "numba", "llvmlite", "click", "filelock", "distributed"},
    "nerf.contract": {"rtnerf.base", "numpy"},
    "nerf.golden": {"rtnerf.base", "nerf.contract", "numpy"},
    "rtl": {"rtnerf.base", "nerf.contract", "numpy", "amaranth"},
    "sim": {"rtnerf.base", "nerf.contract", "nerf.golden", "numpy"},
    "rtnerf.physical": {"rtnerf.base", "nerf.contract", "rtl", "numpy", "amaranth", "pyosys"},
    "rtnerf.explore": {"rtnerf.base", "rtnerf.physical", "nerf", "sim", "numpy", "optuna", "pyarrow"},
    "rtnerf.view": {"rtnerf.base", "nerf.contract", "numpy"},
}

DATA_FOLDERS = (
    "nerf/data", "specdec/data", "cosim/bench", "rtl/board/data", "rtl/verilog/drivers", "rtnerf/physical/data",
    "rtnerf/view/data",
)  # fmt: skip
LONGEST_FILE, LONGEST_FUNCTION = 450, 80
REASON = "One function"
"""So begins the sentence of a docstring that says why a longer function is not split."""


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **options)


@pytest.fixture(scope="module")
def imports():
    """Module to the modules that it imports, from the source as it stands."""
    graph = grimp.build_graph(*{name.partition(".")[0] for name in PACKAGES}, include_external_packages=True)
    return {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}


def test_import_contracts_hold():
    linter = Path(sys.executable).parent / "lint-imports"
    result = run(str(linter), "--no-cache", cwd=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_package_imports_only_what_it_may(imports, package):
    allowed = {package, *MAY_IMPORT[package]}
    foreign = {
        f"{module} imports {name}"
        for module, names in imports.items()
        if module == package or module.startswith(f"{package}.")
        for name in names
        if name.partition(".")[0] not in sys.stdlib_module_names
        and not any(name == good or name.startswith(f"{good}.") for good in allowed)
    }
    assert foreign == set()


def test_all_compiled_functions_take_their_decorator_from_one_module(imports):
    assert {module for module, names in imports.items() if "numba" in names} == {
        "rtnerf.base.compiled",
        "rtnerf.base.code_cache",
        "nerf.train.lanes",  # An intrinsic: a part of the functions that call it.
    }


def test_nobody_imports_the_reports_or_the_face(imports):
    def is_face(name):
        rooms = ("rtnerf.base", "rtnerf.explore", "rtnerf.physical", "rtnerf.view")
        return name.partition(".")[0] == "rtnerf" and not name.startswith(rooms)

    for module, names in imports.items():
        foreign = {name for name in names if is_face(name) or name.partition(".")[0] == "reports"}
        assert is_face(module) or not foreign, module


def test_every_package_with_modules_is_declared():
    found = {
        str(path.parent.relative_to(ROOT)).replace("/", ".")
        for root in PROJECT_ROOTS
        for path in (ROOT / root).glob("**/__init__.py")
    }
    assert found - {"reports"} == set(PACKAGES)


def too_long(source):
    """Yield what is too long in a file, and does not say why."""
    if len(source.splitlines()) > LONGEST_FILE:
        yield "the file"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
            node.end_lineno - node.lineno >= LONGEST_FUNCTION and REASON not in (ast.get_docstring(node) or "")
        ):
            yield node.name


def test_no_file_or_function_of_the_product_is_too_long():
    sources = [path for package in PACKAGES for path in (ROOT / package.replace(".", "/")).glob("*.py")]
    assert {f"{path.relative_to(ROOT)}: {what}" for path in sources for what in too_long(path.read_text())} == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f():\n" + LONGEST_FUNCTION * "    pass\n", ["f"]),
        ("def f():\n" + (LONGEST_FUNCTION - 1) * "    pass\n", []),
        (f"def f():\n    '{REASON}: it is flat.'\n" + LONGEST_FUNCTION * "    pass\n", []),
        ("class A:\n    async def f(self):\n" + LONGEST_FUNCTION * "        pass\n", ["f"]),
        (LONGEST_FILE * "pass\n", []),
        ((LONGEST_FILE + 1) * "pass\n", ["the file"]),
    ],
)
def test_what_is_too_long_is_seen(source, found):
    assert list(too_long(source)) == found


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory):
    """Names in a wheel built from a copy: a build leaves folders beside its sources."""
    folder = tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, folder / "source", ignore=ignore)
    arguments = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(folder)]
    result = run(sys.executable, "-m", "pip", "wheel", *arguments, str(folder / "source"))
    assert result.returncode == 0, result.stdout + result.stderr
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_wheel_holds_the_packages_and_nothing_else(wheel_names):
    expected = set()
    for package in PACKAGES:
        folder = ROOT / package.replace(".", "/")
        expected |= {str(path.relative_to(ROOT)) for path in folder.glob("*.py")}
    for folder in DATA_FOLDERS:
        expected |= {str(path.relative_to(ROOT)) for path in (ROOT / folder).glob("*") if path.is_file()}
    installed = {name for name in wheel_names if ".dist-info/" not in name}
    assert installed == expected
    assert any(name.endswith("licenses/LICENSE") for name in wheel_names)


def test_help_does_not_load_the_heavy_packages():
    code = (
        "import sys, rtnerf\n"
        "try:\n    rtnerf.main(['--help'])\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "print('LOADED', [name for name in ('torch', 'numpy', 'numba', 'amaranth', 'cocotb') if name in sys.modules])"
    )
    result = run(sys.executable, "-c", code, cwd=ROOT)
    assert "LOADED []" in result.stdout, result.stdout + result.stderr


def test_constraints_pin_every_dependency_once():
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, exact, _ = re.match(r"([\w.-]+)(==)([^\s;]+)", line).groups()
            key = re.sub(r"[-_.]+", "-", name).lower()
            assert exact
            assert key not in pins, f"{name} is pinned twice"
            pins[key] = line
    extras = PROJECT["project"]["optional-dependencies"].values()
    for requirement in [*PROJECT["project"]["dependencies"], *(item for extra in extras for item in extra)]:
        name = re.match(r"[\w.-]+", requirement)[0].lower()
        assert name == "rtnerf" or name in pins, f"{name} has no pin"


def test_what_renders_is_asked_for_once_and_building_needs_none_of_it():
    project = PROJECT["project"]
    named = tuple(re.match(r"[\w.-]+", item)[0] for item in project["dependencies"])
    assert {"torch", "numba", "pillow"} < set(named)
    again = [item for items in project["optional-dependencies"].values() for item in items if item.startswith(named)]
    assert again == []
    assert not any("torch" in item for item in PROJECT["build-system"]["requires"])
