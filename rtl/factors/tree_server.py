"""The tree server: one bi-directional tree, shared by several clients in turn."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In

from rtl.factors.search_tree import BidirectionalTree
from rtl.parts.round_robin import RoundRobin
from rtl.payloads import TREE_CREDITS, TreePort, TreeResponse


class TreeServer(wiring.Component):
    """Serve the requests of several clients with one `BidirectionalTree`.

    Requests are taken in turn (round robin). Each client has a queue for its responses, and a request is taken only
    when a place in it is free, so the tree never waits and a client that takes no responses blocks nobody else.

    Latency: 5 cycles from an accepted request to its valid response.
    Throughput: 1 request a cycle, from one client or from all together.

    Parameters
    ----------
    clients : int
        Number of clients, at least 1.

    Members
    -------
    client_0, client_1, ... : In(TreePort())
        Connect to a client's ``Out(TreePort())``. Responses come in the order of the client's requests.
    """

    LATENCY = BidirectionalTree.LATENCY + 2
    QUEUE = TREE_CREDITS
    """The latency and one, for full throughput."""

    def __init__(self, clients: int) -> None:
        if clients < 1:
            raise ValueError(f"clients must be at least 1, not {clients}")
        self._clients = clients
        super().__init__({f"client_{index}": In(TreePort()) for index in range(clients)})

    def elaborate(self, platform) -> Module:
        """Return the arbiter, a register for the request that is granted, the tree and the response queues."""
        assert self.QUEUE == self.LATENCY + 1
        m = Module()
        m.submodules.tree = tree = BidirectionalTree()
        ports = [getattr(self, f"client_{index}") for index in range(self._clients)]

        m.submodules.turn = turn = RoundRobin(self._clients)
        may_ask = Signal(self._clients)
        m.d.comb += [
            turn.requests.eq(may_ask),
            turn.next.eq(1),
            tree.o.ready.eq(1),
        ]
        m.d.sync += tree.i.valid.eq(turn.valid)

        # The tree never waits, so its requests' owners move in step with it.
        owners = [turn.grant]
        for stage in range(1 + BidirectionalTree.LATENCY):
            owner = Signal(range(self._clients), name=f"owner_{stage}")
            m.d.sync += owner.eq(owners[-1])
            owners.append(owner)

        for index, port in enumerate(ports):
            queue = SyncFIFO(width=TreeResponse.size, depth=self.QUEUE)
            m.submodules[f"queue_{index}"] = queue
            asked = Signal(range(self.QUEUE + 1), name=f"asked_{index}")
            accepted = port.request.valid & port.request.ready
            taken = port.response.valid & port.response.ready
            m.d.sync += asked.eq(asked + accepted - taken)
            m.d.comb += [
                may_ask[index].eq(port.request.valid & (asked != self.QUEUE)),
                port.request.ready.eq(may_ask[index] & (turn.grant == index)),
                queue.w_data.eq(tree.o.payload),
                queue.w_en.eq(tree.o.valid & (owners[-1] == index)),
                port.response.valid.eq(queue.r_rdy),
                port.response.payload.eq(queue.r_data),
                queue.r_en.eq(port.response.ready),
            ]
            with m.If(turn.grant == index):
                m.d.sync += tree.i.payload.eq(port.request.payload)
        return m
