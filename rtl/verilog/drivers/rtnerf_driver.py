"""A driver of the RT-NeRF accelerator, for any bus; it needs ``rtnerf.json`` from the same folder, and nothing else.

    accelerator = Driver(read, write)              # value = read(address), write(address, value)
    accelerator.check()                            # another design, or another configuration: RuntimeError
    accelerator.place(scene, frame, lists)         # byte addresses in the accelerator's memory
    accelerator.set_view(view)                     # a view's registers by name
    counters = accelerator.render()                # or RuntimeError, with the error's name

The scene image goes into memory whole, as ``rtnerf encode`` writes it. Pixels come out row by row, 8 bytes each.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

DESCRIPTION = Path(__file__).with_name("rtnerf.json")


class Driver:
    """An accelerator behind two functions.

    Parameters
    ----------
    read : callable
        ``read(address)`` returns the 32 bits of a register.
    write : callable
        ``write(address, value)``.
    description : path, optional
        The accelerator's ``rtnerf.json``.
    """

    def __init__(
        self,
        read: Callable[[int], int],
        write: Callable[[int, int], None],
        description: str | Path = DESCRIPTION,
    ) -> None:
        self.description = json.loads(Path(description).read_text())
        self._read, self._write = read, write
        self._errors = {code: name for name, code in self.description["error_codes"].items()}

    def get(self, name: str) -> int:
        """Return a register by name."""
        return self._read(self.description["registers"][name]["address"])

    def set(self, name: str, value: int) -> None:
        """Write a register by name; a negative value in two's complement."""
        self._write(self.description["registers"][name]["address"], value & 0xFFFFFFFF)

    def check(self) -> None:
        """Raise `RuntimeError` where another design, or one of another configuration, answers."""
        for name in ("identity", "config_digest"):
            expected, found = self.description["values"][name], self.get(name)
            if found != expected:
                raise RuntimeError(f"{name} must be {expected:#010x}, not {found:#010x}")

    def place(self, scene: int, frame: int, lists: int) -> None:
        """Say where the scene image is, where pixels go, and where working memory for the lists of cubes is."""
        for name, address in (("scene", scene), ("frame", frame), ("list", lists)):
            self.set(f"{name}_low", address)
            self.set(f"{name}_high", address >> 32)

    def set_view(self, view: Mapping[str, int]) -> None:
        """Write the registers of a view, as ``job.view(camera).values`` of the Python API has them."""
        for name, value in view.items():
            self.set(name, value)

    def start(self) -> None:
        """Start a frame."""
        self.set("status", 0)
        self.set("control", self.description["flags"]["control"]["start"])

    def ended(self) -> bool:
        """Whether the frame has ended; `RuntimeError` where it has ended with an error."""
        status, flags = self.get("status"), self.description["flags"]["status"]
        if status & flags["error"]:
            code = (status & flags["code"]) // (flags["code"] & -flags["code"])
            raise RuntimeError(f"the frame has ended with error {code}, {self._errors.get(code, 'unknown')}")
        return bool(status & flags["done"])

    def render(self, tries: int = 1_000_000_000) -> dict[str, int]:
        """Render a frame and return its counters; `TimeoutError` where it has not ended after so many questions."""
        self.start()
        for _ in range(tries):
            if self.ended():
                cycles = self.get("cycles_low") | self.get("cycles_high") << 32
                return {
                    "cycles": cycles,
                    **{name: self.get(name) for name in ("samples", "shaded", "cubes", "read_beats")},
                }
        raise TimeoutError(f"the frame must end within {tries} questions for its status")
