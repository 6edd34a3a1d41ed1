"""AXI4 and AXI4-Lite port signatures, named so that the Verilog ports read ``axi__araddr``, ``control__wdata``, ..."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

ID_BITS = 3
BURST_INCREMENTING = 1
RESPONSE_OKAY = 0


class Axi4(wiring.Signature):
    """An AXI4 master's side of a bus.

    Parameters
    ----------
    address_width, data_width : int
        In bits.
    """

    def __init__(self, address_width: int, data_width: int) -> None:
        address = {"id": Out(ID_BITS), "addr": Out(address_width), "len": Out(8), "size": Out(3), "burst": Out(2)}
        handshake = {"valid": Out(1), "ready": In(1)}
        channels = {
            "ar": address | handshake,
            "r": {
                "id": In(ID_BITS),
                "data": In(data_width),
                "resp": In(2),
                "last": In(1),
                "valid": In(1),
                "ready": Out(1),
            },
            "aw": address | handshake,
            "w": {"data": Out(data_width), "strb": Out(data_width // 8), "last": Out(1)} | handshake,
            "b": {"id": In(ID_BITS), "resp": In(2), "valid": In(1), "ready": Out(1)},
        }
        super().__init__({channel + name: flow for channel, ports in channels.items() for name, flow in ports.items()})


class Axi4Lite(wiring.Signature):
    """An AXI4-Lite master's side of a bus of 32-bit registers.

    Parameters
    ----------
    address_width : int
        In bits.
    """

    def __init__(self, address_width: int) -> None:
        address = {"addr": Out(address_width), "prot": Out(3), "valid": Out(1), "ready": In(1)}
        channels = {
            "aw": address,
            "w": {"data": Out(32), "strb": Out(4), "valid": Out(1), "ready": In(1)},
            "b": {"resp": In(2), "valid": In(1), "ready": Out(1)},
            "ar": address,
            "r": {"data": In(32), "resp": In(2), "valid": In(1), "ready": Out(1)},
        }
        super().__init__({channel + name: flow for channel, ports in channels.items() for name, flow in ports.items()})
