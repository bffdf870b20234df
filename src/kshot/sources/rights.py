"""Gives up what the process was allowed beyond its user, once the socket is open."""

from __future__ import annotations

import ctypes

from kshot.errors import InternalError

_NO_NEW_PRIVILEGES, _AMBIENT, _DROP_BOUNDING = 38, 47, 24
_CLEAR_ALL = 4
_CAPABILITIES_VERSION = 0x20080522
_MOST_CAPABILITIES = 64


def drop_rights() -> None:
    """Give up all capabilities of this thread and those it starts, and any way to get them back (capabilities(7)).

    Threads that run already keep theirs: call it before libraries start some. Even root is then no more than the owner
    of its files.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    # While we may still: what no program started from here can ever have.
    for capability in range(_MOST_CAPABILITIES):
        libc.prctl(_DROP_BOUNDING, capability, 0, 0, 0)
    libc.prctl(_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.capset(header, none):
        raise InternalError("capabilities could not be given up")
