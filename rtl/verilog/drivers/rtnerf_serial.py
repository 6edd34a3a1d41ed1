"""A computer's end of the serial line to the accelerator on a board: its memory, and the bus of its driver.

    computer = Computer(port.read, port.write, memory)        # pyserial's Serial, or anything with the two
    accelerator = Driver(computer.read, computer.write)       # of rtnerf_driver.py
    ...
    accelerator.render()                                      # memory has the picture

``read(count)`` returns so many bytes, fewer where time is over; ``write(data)`` sends. It needs nothing else.
"""

from collections.abc import Callable
from struct import Struct

READ, READ_DATA, WRITE, READ_REGISTER, ANSWER, WRITE_REGISTER, ERROR = (bytes([kind]) for kind in b"RDWrAwE")
"""Kinds of messages, see ``rtl/board/serial_bus.py``."""
BURST, REGISTER, ACCESS, VALUE = Struct("<IB"), Struct("<cH"), Struct("<cHI"), Struct("<I")
BEAT = 16
STROBES = 2


class Computer:
    """What the accelerator finds at the end of the line.

    Parameters
    ----------
    read, write : callable
        Of the port.
    memory : bytearray
        The scene image and room for picture and lists; what is written to it is here.

    Raises
    ------
    RuntimeError
        From an access: nothing comes, or what comes is no message, or lies outside of the memory.
    """

    def __init__(self, read: Callable[[int], bytes], write: Callable[[bytes], object], memory: bytearray) -> None:
        self._read, self._write, self._memory = read, write, memory

    def read(self, address: int) -> int:
        """Return the 32 bits of a register; the accelerator's bursts that come before the answer are done."""
        self._write(REGISTER.pack(READ_REGISTER, address))
        while (value := self._serve()) is None:
            pass
        return value

    def write(self, address: int, value: int) -> None:
        """Write a register."""
        self._write(ACCESS.pack(WRITE_REGISTER, address, value))

    def _serve(self) -> int | None:
        """Do what the next message asks for; return the value of an answer."""
        kind = self._take(1)
        if kind == ANSWER:
            return VALUE.unpack(self._take(VALUE.size))[0]
        if kind == READ:
            begin, end = self._burst()
            beats = [bytes(self._memory[at : at + BEAT]) for at in range(begin, end, BEAT)]
            self._write(b"".join(READ_DATA + beat for beat in beats))
        elif kind == WRITE:
            begin, end = self._burst()
            for at in range(begin, end, BEAT):
                values, strobes = self._take(BEAT), int.from_bytes(self._take(STROBES), "little")
                for place in range(BEAT):
                    if strobes >> place & 1:
                        self._memory[at + place] = values[place]
        elif kind == ERROR:
            raise RuntimeError(f"the accelerator must get whole messages, not {self._take(VALUE.size)[:1]!r}")
        else:
            raise RuntimeError(f"a message of the accelerator must begin with its kind, not {kind!r}")
        return None

    def _burst(self) -> tuple[int, int]:
        """Return the first address of a burst, and the one behind it."""
        begin, last = BURST.unpack(self._take(BURST.size))
        begin -= begin % BEAT
        end = begin + BEAT * (last + 1)
        if end > len(self._memory):
            raise RuntimeError(f"a burst must end within the memory of {len(self._memory)} bytes, not at {end}")
        return begin, end

    def _take(self, count: int) -> bytes:
        data = self._read(count)
        if len(data) != count:
            raise RuntimeError(f"the accelerator must send {count} bytes, not {len(data)} before the time is over")
        return data
