"""A headless Chromium with WebGL in software, led through its debugging pipe."""

import fcntl
import json
import os
import select
import shutil
import signal
import time
from contextlib import suppress

NAMES = ("chromium", "chromium-browser", "google-chrome")
EXECUTABLE = next(filter(None, map(shutil.which, NAMES)), None)
SECONDS = 120
"""The watchdog of everything that is waited for."""
LEFT = "Inspected target navigated or closed"
"""What the browser answers where a page makes room for the next one before it has."""


class PageLeftError(Exception):
    """The page was left while it was asked."""


class Browser:
    """A browser with one page at a time; ``problems`` of the page: its errors and warnings, ``requests``: its URLs."""

    def __init__(self, profile):
        (commands, self._commands), (self._messages, messages) = os.pipe(), os.pipe()
        # Out of the way of 3 and 4, where the browser expects them.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (commands, messages)]
        actions = [(os.POSIX_SPAWN_OPEN, end, os.devnull, os.O_RDWR, 0) for end in (0, 1, 2)]
        actions += [(os.POSIX_SPAWN_DUP2, end, place) for end, place in zip(ends, (3, 4), strict=True)]
        options = ["--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        options += ["--remote-debugging-pipe", "--no-first-run", f"--user-data-dir={profile}", "about:blank"]
        command = [EXECUTABLE, *options]
        self._pid = os.posix_spawn(EXECUTABLE, command, os.environ, file_actions=actions, setsid=True)
        for end in (commands, messages, *ends):
            os.close(end)
        self._number, self._rest, self._session, self._target = 0, b"", None, None
        self.problems, self.requests = [], []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with suppress(OSError):
            os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._commands)
        os.close(self._messages)

    def open(self, url, width=1280, height=1000, script="", **features):
        """Load a page, in a window of some pixels; ``features``: of its media, such as ``color_scheme="dark"``.

        ``script`` is run in the page before its own.
        """
        if self._target:
            self._session = None
            self.call("Target.closeTarget", targetId=self._target)
        self._target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=2)
        media = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=media)
        if script:
            self.call("Page.addScriptToEvaluateOnNewDocument", source=script)
        self.problems, self.requests = [], []
        self.call("Page.navigate", url=url)

    def evaluate(self, expression):
        """Return the value of an expression, or of what it promises."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression):
        """Return the value of an expression as soon as it is true, be it on the next page."""
        until = time.monotonic() + SECONDS
        while True:
            with suppress(PageLeftError):
                if value := self.evaluate(expression):
                    return value
            assert time.monotonic() < until, f"{expression}: {self.problems}"
            time.sleep(0.05)

    def press(self, key):
        """Press a key and release it."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key)

    def drag(self, x, y, across, down):
        """Drag from a place by some pixels."""
        ends = [(x, y), (x + across // 2, y + down // 2), (x + across, y + down)]
        kinds = ("mousePressed", "mouseMoved", "mouseMoved", "mouseReleased")
        for kind, (at_x, at_y) in zip(kinds, [*ends, ends[-1]], strict=True):
            self.call("Input.dispatchMouseEvent", type=kind, x=at_x, y=at_y, button="left", buttons=1, clickCount=1)

    def pinch(self, x, y, before, after):
        """Move two fingers round a place from one distance to another, in pixels."""
        touches = [("touchStart", before), ("touchMove", before + 4), ("touchMove", after), ("touchEnd", None)]
        for kind, apart in touches:
            places = [] if apart is None else [x - apart // 2, x + apart // 2]
            points = [{"x": place, "y": y, "id": finger} for finger, place in enumerate(places)]
            self.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    def call(self, method, **params):
        """Send a command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                if answer.get("error", {}).get("message") == LEFT:
                    raise PageLeftError
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._note(answer.get("method"), answer.get("params"))

    def _message(self):
        while b"\0" not in self._rest:
            assert select.select([self._messages], [], [], SECONDS)[0], "the browser is silent"
            part = os.read(self._messages, 1 << 20)
            assert part, "the browser has ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, method, params):
        if method == "Runtime.exceptionThrown":
            self.problems.append(params["exceptionDetails"].get("exception", {}).get("description"))
        elif method == "Runtime.consoleAPICalled":
            self.problems.append(" ".join(str(each.get("value")) for each in params["args"]))
        elif method == "Log.entryAdded":
            self.problems.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
