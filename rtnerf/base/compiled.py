"""How the functions of the simulator are compiled."""

from numba import njit

compiled = njit(cache=True, _nrt=False)
"""Decorator: to machine code that is kept, without counting references to arrays.

The counting costs more than most steps do, and nothing here allocates; the callers hold every array.
"""

inlined = njit(inline="always", _nrt=False)
"""Decorator: part of the one function that calls it, so that what it takes need not be passed."""
