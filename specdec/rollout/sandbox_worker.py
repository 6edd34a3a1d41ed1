"""The script of the process that `specdec.rollout.sandbox` starts: it forks a confined process for every request.

The list of requests comes as JSON on the standard input, the list of answers goes as JSON to the standard output:
``{"text": what the process wrote}`` or ``{"error": why it was ended}``. An exit code other than 0: this kernel cannot
isolate a run, and nothing was run.
"""

import collections  # noqa: F401
import ctypes
import json
import os
import platform
import re  # noqa: F401
import resource
import select
import signal
import sqlite3
import sys
from struct import pack
from typing import Any

MODULES = ("bisect", "collections", "functools", "heapq", "itertools", "math", "operator", "re", "string")
"""What a program may import; all but what Python itself has in memory needs files."""

FUNCTIONS = {
    "abs", "avg", "coalesce", "count", "ifnull", "iif", "instr", "length", "like", "lower", "max", "min", "nullif",
    "round", "substr", "substring", "sum", "total", "trim", "upper",
}  # fmt: skip
"""What a SELECT may call."""

LARGEST_VALUE = 10_000
"""Bytes of a string or a row in SQLite."""

_AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# System calls, as numbered on (x86_64, aarch64).
_ALLOWED = {
    "brk": (12, 214),
    "clock_gettime": (228, 113),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "futex": (202, 98),
    "getpid": (39, 172),
    "getrandom": (318, 278),
    "gettid": (186, 178),
    "madvise": (28, 233),
    "mremap": (25, 216),
    "munmap": (11, 215),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_yield": (24, 124),
    "sigaltstack": (131, 132),
}
_WRITE = (1, 64)
_PROTECTING = {"mmap": (9, 222), "mprotect": (10, 226)}

UNCONFINED = 97
"""Exit code of a process that could not be confined, and so did nothing."""

_EXECUTABLE = 4

# Instructions of the classic Berkeley packet filter, and what it may return.
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050001
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _THIRD_ARGUMENT = 0, 4, 16, 32


def system_call_filter(machine: str) -> bytes:
    """Return the filter, which answers everything that is not allowed with EPERM. Source: seccomp(2)."""
    column = list(_AUDIT_ARCHITECTURE).index(machine)

    def instruction(code: int, k: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return pack("HBBI", code, if_true, if_false, k)

    allow, refuse = instruction(_RETURN, _ALLOW), instruction(_RETURN, _REFUSE)
    program = instruction(_LOAD, _ARCHITECTURE)
    program += instruction(_EQUAL, _AUDIT_ARCHITECTURE[machine], if_true=1) + instruction(_RETURN, _KILL)
    program += instruction(_LOAD, _NUMBER)
    for numbers in _ALLOWED.values():
        program += instruction(_EQUAL, numbers[column], if_false=1) + allow
    program += instruction(_EQUAL, _WRITE[column], if_false=4) + instruction(_LOAD, _FIRST_ARGUMENT)
    program += instruction(_EQUAL, 1, if_false=1) + allow + refuse
    for numbers in _PROTECTING.values():
        program += instruction(_EQUAL, numbers[column], if_false=4) + instruction(_LOAD, _THIRD_ARGUMENT)
        program += instruction(_ANY_BIT, _EXECUTABLE, if_true=1) + allow + refuse
    return program + refuse


def confine(seconds: float, memory: int, output: int) -> None:
    """Give up everything but computing, for good; end the process if that fails."""
    for name, value in {
        "RLIMIT_AS": memory,
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": int(seconds) + 1,
        "RLIMIT_FSIZE": output,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_NOFILE": 3,
        "RLIMIT_NPROC": 0,
    }.items():
        resource.setrlimit(getattr(resource, name), (value, value))
    library = ctypes.CDLL(None)
    program = system_call_filter(platform.machine())
    text = ctypes.create_string_buffer(program, len(program))
    description = ctypes.create_string_buffer(pack("HP", len(program) // 8, ctypes.addressof(text)))
    set_parent_death_signal, set_no_new_privileges, set_seccomp, filter_mode = 1, 38, 22, 2
    for option, value, pointer in [
        (set_parent_death_signal, signal.SIGKILL, 0),
        (set_no_new_privileges, 1, 0),
        (set_seccomp, filter_mode, ctypes.addressof(description)),
    ]:
        if library.prctl(option, *map(ctypes.c_ulong, (value, pointer, 0, 0))):
            os._exit(UNCONFINED)


def answers(program: str, function: str, arguments: list[Any]) -> list[dict[str, Any]]:
    """Run a program and call its function."""
    # print() does nothing without a standard output; the answer has the descriptor.
    sys.stdout = sys.stderr = None
    space: dict[str, Any] = {"__name__": "program"}
    try:
        exec(compile(program, "program", "exec"), space)
    except BaseException as error:  # noqa: BLE001 (programs may raise anything)
        return [{"error": describe(error)}] * len(arguments)
    results = []
    for values in arguments:
        try:
            results.append({"value": space[function](*values)})
        except BaseException as error:  # noqa: BLE001
            results.append({"error": describe(error)})
    return results


def rows(database: str, sql: str, instructions: int) -> list[dict[str, Any]]:
    """Make a database and ask it."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(LARGEST_VALUE, len(database.encode()) + 1))
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.set_progress_handler(lambda: True, instructions)
        connection.executescript(database)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_VALUE)
        connection.set_authorizer(authorize)
        cursor = connection.execute(sql)
        if cursor.description is None:
            return [{"error": "not a SELECT"}]
        return [{"value": [[name for name, *_ in cursor.description], cursor.fetchall()]}]
    except (sqlite3.Error, sqlite3.Warning, MemoryError) as error:
        return [{"error": describe(error)}]


def authorize(action: int, first: str | None, second: str | None, database: str | None, source: str | None) -> int:
    """Say whether SQLite may do something."""
    reading = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE)
    calling = action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in FUNCTIONS
    return sqlite3.SQLITE_OK if reading or calling else sqlite3.SQLITE_DENY


def describe(error: BaseException) -> str:
    """Return an exception in one short line."""
    return " ".join(f"{type(error).__name__}: {error}"[:200].split())


def answer(request: dict[str, Any]) -> None:
    """Give up everything but the standard output, run what is asked for, answer and end."""
    try:
        confine(request["seconds"], request["memory"], request["output"])
    except BaseException:  # noqa: BLE001 (nothing may be run then)
        os._exit(UNCONFINED)
    try:
        # Leading space, which JSON ignores: the sign that confinement came about.
        os.write(1, b" ")
        if "sql" in request:
            results = rows(request["database"], request["sql"], request["instructions"])
        else:
            results = answers(request["python"], request["function"], request["arguments"])
        try:
            text = json.dumps(results, allow_nan=False)
        except Exception as error:  # noqa: BLE001 (programs may return anything)
            text = json.dumps([{"error": describe(error)}] * len(results))
        if len(text) >= request["output"]:
            text = json.dumps([{"error": "too much output"}] * len(results))
        os.write(1, text.encode())
    finally:
        os._exit(0)


def run(request: dict[str, Any]) -> dict[str, str]:
    """Answer a request in a process of its own; end it when its time is over."""
    output = os.memfd_create("answer")
    child = os.fork()
    if child == 0:
        os.dup2(output, 1)
        os.close(0)
        os.closerange(2, output + 1)
        answer(request)
    process = os.pidfd_open(child)
    waiting = select.poll()
    waiting.register(process, select.POLLIN)
    in_time = waiting.poll(1000 * request["seconds"])
    if not in_time:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    text = os.pread(output, request["output"], 0).decode(errors="replace")
    os.close(process)
    os.close(output)
    if code == UNCONFINED and not text:
        sys.exit(UNCONFINED)
    if not in_time:
        return {"error": "out of time"}
    return {"error": f"ended by {signal.Signals(-code).name}"} if code < 0 else {"text": text}


def main() -> None:
    """Answer all requests."""
    requests = json.load(sys.stdin)
    for name in MODULES:
        __import__(name)
    json.dump([run(request) for request in requests], sys.stdout)


if __name__ == "__main__":
    main()
