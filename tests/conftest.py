"""Settings of the whole test suite."""

import os
from pathlib import Path

# Before any test imports numba: compiled functions are kept with everything else that is generated.
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).resolve().parents[1] / "build" / "numba"))
