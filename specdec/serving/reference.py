"""Continuous batching for SimPy: clients and a server as processes, the cache as a container of blocks.

The plain statement of what `specdec.serving.engine` compiles; some 170 times slower. Both draw the same random
numbers in the same order, and agree to the nanosecond.
"""

from collections import deque
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import simpy

from specdec.serving.controllers import Controller, believed, choose, step_time
from specdec.serving.ladder import CLASSES
from specdec.serving.outcome import Outcome
from specdec.serving.server import Server, cached
from specdec.serving.workload import MICROSECOND, MILLISECOND, Workload

Process = Generator[simpy.Event, Any, None]


class Request:
    """A request on its way through the server, times in nanoseconds."""

    def __init__(self, env: simpy.Environment, prompt: int, output: int, acceptance: float, known: int):
        self.arrival = env.now
        self.prompt = prompt
        self.output = output
        self.acceptance = round(acceptance * (CLASSES - 1))
        self.known = known
        self.unread = 0
        self.generated = 0
        self.blocks = 0
        self.first: int | None = None
        self.brought = False
        self.answered = env.event()

    @property
    def length(self) -> int:
        """Tokens, of which all but the last are in the cache while it runs."""
        return self.prompt + self.generated

    @property
    def own(self) -> int:
        """Tokens but for those that are held in the cache for all requests together."""
        return self.length - self.known


class Simulation:
    """A server with its clients.

    Parameters
    ----------
    server, controller, workload, seed
        As for `simulate`.
    """

    def __init__(self, server: Server, controller: Controller, workload: Workload, seed: int):
        self.server = server
        self.controller = controller
        self.workload = workload
        self.rng = np.random.default_rng(seed)
        self.env = simpy.Environment()
        self.pool = server.blocks - server.shared
        self.known = cached(workload.prompt, server.prefix, server.block)
        self.cache = simpy.Container(self.env, capacity=self.pool, init=self.pool)
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self.requests: list[Request] = []
        self.readers = simpy.Resource(self.env, max(server.readers, 1))
        self.woken = self.env.event()

        ladder = controller.ladder
        self.decoding = server.decoding_ms(ladder) * MILLISECOND
        self.predicted = controller.predicted_ms(server) * MILLISECOND
        self.prefill_time = np.rint(server.prefill_ms(ladder) * MILLISECOND).astype(np.int64)

        self.rung = 0
        self.acceptance = round(controller.prior * (CLASSES - 1))
        self.average = ladder.expected[0, self.acceptance]
        self.steps = 0
        self.by_rung = np.zeros(len(ladder.nodes), np.int64)
        self.busy = self.preemptions = self.peak = 0

    def run(self) -> Outcome:
        """Serve all requests."""
        if self.workload.clients:
            unsent = iter(range(len(self.workload)))
            for _ in range(self.workload.clients):
                self.env.process(self.client(unsent))
        else:
            for index in range(len(self.workload)):
                self.env.process(self.passer_by(index))
        self.env.process(self.serve())
        self.env.run()
        return Outcome(
            np.array([request.arrival for request in self.requests]),
            np.array([request.first for request in self.requests]),
            np.array([request.answered.value for request in self.requests]),
            np.array([request.output for request in self.requests]),
            self.by_rung,
            self.controller.ladder.nodes,
            self.busy,
            self.preemptions,
            self.peak,
        )

    # ---- Clients ----

    def passer_by(self, index: int) -> Process:
        """One request, when its time comes."""
        yield self.env.timeout(int(self.workload.arrival[index]))
        self.send(index)

    def client(self, unsent: Iterator[int]) -> Process:
        """Requests one after another, each when the last is answered."""
        for index in unsent:
            yield self.send(index).answered

    def send(self, index: int) -> Request:
        """Hand a request to the server, and wake it."""
        load = self.workload
        sizes = int(load.prompt[index]), int(load.output[index])
        request = Request(self.env, *sizes, load.acceptance[index], int(self.known[index]))
        self.requests.append(request)
        if self.server.readers:
            self.env.process(self.bring(request))
        else:
            self.queue(request)
        return request

    def bring(self, request: Request) -> Process:
        """Have a request read elsewhere, and its keys and values brought here."""
        with self.readers.request() as turn:
            yield turn
            yield self.env.timeout(int(self.prefill_time[request.own]))
        request.first, request.brought = int(self.env.now), True
        yield self.env.timeout(int(np.rint(self.server.transfer_us * MICROSECOND * request.own)))
        self.queue(request)

    def queue(self, request: Request) -> None:
        """Let a request wait for its first step, and wake the server."""
        self.waiting.append(request)
        if not self.woken.triggered:
            self.woken.succeed()

    # ---- The server ----

    def serve(self) -> Process:
        """Prefill while a waiting request fits, else decode; sleep when there is nothing to do."""
        while True:
            if not self.waiting and not self.running:
                self.woken = self.env.event()
                yield self.woken
            # All that happens at this moment happens before the step.
            yield self.env.timeout(0)
            if self.server.chunked:
                yield from self.mix()
                continue
            admitted = yield from self.admit()
            if admitted:
                yield from self.work(int(self.prefill_time[sum(request.own for request in admitted)]))
                for request in admitted:
                    if request.first is None:
                        request.first = int(self.env.now)
                    yield from self.advance(request, 1)
            elif self.running:
                yield from self.decode()

    def admit(self) -> Generator[simpy.Event, Any, list[Request]]:
        """Take waiting requests, first come first served, while memory, batch and prefill have room for the next.

        Return those that have to be read.
        """
        admitted: list[Request] = []
        promised = sum(map(self.blocks, self.running))
        while self.waiting and len(self.running) < self.server.max_batch:
            request = self.waiting[0]
            tokens = sum(other.own for other in [*admitted, *([] if request.brought else [request])])
            if admitted and tokens > self.server.prefill_tokens:
                break
            needed = self.blocks(request, ahead=1)
            if promised + needed > self.pool:
                break
            promised += needed
            yield from self.hold(request, needed)
            self.running.append(self.waiting.popleft())
            if request.brought:
                request.brought = False
                yield from self.advance(request, 1)
            else:
                admitted.append(request)
        return admitted

    def decode(self) -> Process:
        """Draft, verify, and hand every running request what was accepted."""
        self.control(self.running)
        yield from self.reserve()
        self.peak = max(self.peak, self.pool - int(self.cache.level))
        yield from self.work(self.decoding_time(self.running))
        yield from self.accept(list(self.running))

    def mix(self) -> Process:
        """Decode, and read as much of prompts as the step has room for."""
        if self.ready():
            self.control(self.ready())
        yield from self.reserve()
        decoding = self.ready()
        verified = len(decoding) * int(self.controller.ladder.nodes[self.rung])
        room = max(self.server.prefill_tokens - verified, 0)
        left = room
        for request in self.running:
            left -= self.read(request, left)
        promised = sum(map(self.blocks, self.running))
        while self.waiting and len(self.running) < self.server.max_batch and left:
            request = self.waiting[0]
            needed = self.blocks(request, ahead=1)
            if promised + needed > self.pool:
                break
            promised += needed
            yield from self.hold(request, needed)
            self.running.append(self.waiting.popleft())
            request.unread = request.own
            left -= self.read(request, left)
        self.peak = max(self.peak, self.pool - int(self.cache.level))
        time = self.decoding_time(decoding) if decoding else 0
        more = self.prefill_time[verified + room - left] - self.prefill_time[verified] if left < room else 0
        others = [request for request in self.running if request not in decoding]
        yield from self.work(time + max(int(more), 0))
        if decoding:
            yield from self.accept(decoding)
        for request in others:
            if request.unread == 0:
                if request.first is None:
                    request.first = int(self.env.now)
                yield from self.advance(request, 1)

    def ready(self) -> list[Request]:
        """Return the running requests that decode."""
        return [request for request in self.running if request.unread == 0]

    def read(self, request: Request, room: int) -> int:
        """Read what there is room for, and return how much that is."""
        read = min(request.unread, room)
        request.unread -= read
        return read

    def decoding_time(self, requests: list[Request]) -> int:
        """Return the time of a decoding step."""
        context = self.context(requests)
        return int(np.rint(step_time(self.decoding, self.rung, len(requests), context, self.server.max_length)))

    def accept(self, requests: list[Request]) -> Process:
        """Hand requests what is accepted, and remember how much that is."""
        batch = len(requests)
        self.by_rung[self.rung] += batch
        gained = 0
        for request in requests:
            survival = self.controller.ladder.survival[request.acceptance, self.rung]
            tokens = 1 + int(np.count_nonzero(self.rng.random() < survival))
            gained += tokens
            yield from self.advance(request, tokens)
        self.average += min(1.0, batch / self.controller.window) * (gained / batch - self.average)

    def reserve(self) -> Process:
        """Give running requests the blocks of their next step; the last to come lose theirs if memory is short."""
        while sum(map(self.blocks, self.running)) > self.pool:
            request = self.running.pop()
            yield from self.hold(request, 0)
            self.waiting.appendleft(request)
            self.preemptions += 1
        for needs_more in (False, True):
            for request in self.running:
                if (self.blocks(request) > request.blocks) == needs_more:
                    yield from self.hold(request, self.blocks(request))

    def advance(self, request: Request, tokens: int) -> Process:
        """Add tokens to a request, and answer it if it has all that it wants."""
        request.generated += tokens
        if request.generated >= request.output:
            self.running.remove(request)
            yield from self.hold(request, 0)
            request.answered.succeed(self.env.now)

    def control(self, requests: list[Request]) -> None:
        """Choose the rung for requests anew, now and then."""
        controller, ladder = self.controller, self.controller.ladder
        if self.steps % controller.interval == 0 and len(ladder.nodes) > 1:
            if ladder.nodes[self.rung] > 1:
                self.acceptance = believed(self.average, self.rung, ladder.expected)
            rung = choose(
                len(requests),
                self.context(requests),
                self.server.max_length,
                self.pool * self.server.block + sum(request.known for request in requests),
                self.acceptance,
                ladder.nodes,
                ladder.expected,
                self.predicted,
                controller.preference,
                controller.exhaustive,
            )
            if rung != self.rung:
                self.rung = rung
                self.average = ladder.expected[rung, self.acceptance]
        self.steps += 1

    # ---- Time and memory ----

    def work(self, time: int) -> Process:
        """Be busy for a time."""
        self.busy += time
        yield self.env.timeout(time)

    def context(self, requests: list[Request]) -> int:
        """Count the tokens in the cache."""
        return sum(request.length - 1 for request in requests)

    def blocks(self, request: Request, ahead: int = 0) -> int:
        """Count the blocks of a request in a step, once it has ``ahead`` tokens more in the cache."""
        tokens = request.own - 1 + ahead + self.controller.ladder.nodes[self.rung]
        return int(-(-tokens // self.server.block))

    def hold(self, request: Request, blocks: int) -> Process:
        """Make a request hold so many blocks."""
        if blocks > request.blocks:
            yield self.cache.get(blocks - request.blocks)
        elif blocks < request.blocks:
            yield self.cache.put(request.blocks - blocks)
        request.blocks = blocks


def simulate(server: Server, controller: Controller, workload: Workload, seed: int) -> Outcome:
    """Serve all requests, as `specdec.serving.engine.simulate` does."""
    return Simulation(server, controller, workload, seed).run()
