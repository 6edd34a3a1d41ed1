"""A page and answers to its questions, on 127.0.0.1 for one user.

The standard library's server is enough: a page, some questions with answers in JSON, no files, no sessions. What keeps
others out is little and stands here whole: the address has a token, `Host` must be this machine (a foreign name that
resolves to it is refused), and so must be the page that asks, by `Origin` and `Sec-Fetch-Site`.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl

from rtnerf.base.errors import InputError

Answer = Callable[[Mapping[str, str]], Any]
"""Takes what was asked, by name, and returns what JSON can hold; `InputError` for what it cannot answer."""
MOST_FIELDS = 32
SECONDS = 30
"""That a request may take to come in."""
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Server(ThreadingHTTPServer):
    """A server that has its port and waits for `serve_forever`.

    Parameters
    ----------
    page : callable
        Takes what was asked, as an answer does, and returns HTML.
    answers : mapping
        By the name of the question, the last part of its path. One is worked at a time.
    port : int
        0: a free one.

    Raises
    ------
    InputError
        The port is taken.
    """

    daemon_threads = True

    def __init__(self, page: Callable[[Mapping[str, str]], str], answers: Mapping[str, Answer], port: int = 0) -> None:
        self.page, self.answers, self.token = page, dict(answers), secrets.token_urlsafe(16)
        self.working = Lock()
        try:
            super().__init__(("127.0.0.1", port), _Request)
        except OSError as error:
            raise InputError(f"port must be a free one, not {port} ({error.strerror})") from None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, but for clients that went away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"


class _Request(BaseHTTPRequestHandler):
    server: Server
    timeout = SECONDS
    server_version, sys_version = "rtnerf", ""

    def do_GET(self) -> None:
        """Answer, or say in a line of JSON why not."""
        hosts = [f"{name}:{self.server.server_port}" for name in ("127.0.0.1", "localhost")]
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site")
        if self.headers.get("Host") not in hosts:
            return self._refuse(HTTPStatus.FORBIDDEN, f"host must be {hosts[0]}, not {self.headers.get('Host')}")
        if origin not in (None, *(f"http://{host}" for host in hosts)) or site not in (None, "same-origin", "none"):
            return self._refuse(HTTPStatus.FORBIDDEN, f"origin must be this page, not {origin or site}")
        place, _, query = self.path.partition("?")
        _, token, *rest = [*place.split("/"), ""]
        if not secrets.compare_digest(token.encode(), self.server.token.encode()):
            return self._refuse(HTTPStatus.FORBIDDEN, "token must be that of the printed address, not another")
        name = "/".join(rest[:-1])
        if name and name not in self.server.answers:
            known = ", ".join(self.server.answers)
            return self._refuse(HTTPStatus.NOT_FOUND, f"question must be one of {known}, not {name}")
        return self._answer(self.server.answers[name] if name else self.server.page, query)

    def _answer(self, answer: Answer, query: str) -> None:
        try:
            asked = dict(parse_qsl(query, strict_parsing=bool(query), max_num_fields=MOST_FIELDS))
        except ValueError:
            return self._refuse(
                HTTPStatus.BAD_REQUEST, f"query must be of at most {MOST_FIELDS} name=value, not {query}"
            )
        try:
            with self.server.working:
                found = answer(asked)
        except InputError as error:
            return self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        if isinstance(found, str):
            return self._send(HTTPStatus.OK, "text/html; charset=utf-8", found.encode())
        return self._send_json(HTTPStatus.OK, found)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what the base class refuses, in the same form."""
        self.close_connection = True
        self._refuse(HTTPStatus(code), message or HTTPStatus(code).phrase)

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        self._send_json(status, {"error": text})

    def _send_json(self, status: HTTPStatus, value: Any) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing: addresses have the token."""
