"""Who shares the read master and the tree: the clients of each, by number."""

from enum import IntEnum


class Reader(IntEnum):
    """The clients of the read master, named by what they read."""

    TABLES = 0
    """With the device header."""
    ROWS = 1
    RECORDS = 2
    BLOCK_HEADERS = 3
    BLOCK_PAYLOADS = 4
    CUBE_LIST = 5


class TreeUser(IntEnum):
    """The clients of the shared tree."""

    DENSITY = 0
    DECODER = 1
    WALKER = 2
