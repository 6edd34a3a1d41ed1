"""How functions are compiled: every compiled function of the project takes its decorator from here.

All decorators take the options of `numba.njit`. The machine code is kept between runs by `rtnerf.base.code_cache`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from numba import njit

from rtnerf.base.code_cache import CodeCache


def _compile(function: Callable[..., Any] | None = None, /, **options: Any) -> Callable[..., Any]:
    if function is None:
        return partial(_compile, **options)
    # Without the wrapper for callers in C, of which there are none.
    dispatcher: Any = njit(no_cfunc_wrapper=True, **options)(function)  # type: ignore[call-overload]
    dispatcher._cache = CodeCache(function)
    return dispatcher


compiled = partial(_compile, _nrt=False)
"""Decorator: to machine code, of a function that neither allocates nor returns arrays; an allocation does not compile.

References to arrays are not counted: that costs more than most steps of the simulator do, and the callers hold them.
"""

merged = partial(compiled, forceinline=True)
"""Decorator: to machine code as a part of each function that calls it.

An array is handed to a function of its own word by word, which costs more than most steps of the simulator do.
"""

allocating = _compile
"""Decorator: to machine code, of a function that may allocate."""

inlined = partial(_compile, inline="always")
"""Decorator: to a part of each function that calls it, so that what it takes need not be passed."""
