"""Bad input: the exception of `nerf.contract.errors`, under the name that the rest of `nerf` imports."""

from nerf.contract.errors import InputError, require

__all__ = ["InputError", "require"]
