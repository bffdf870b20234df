"""Listens on a unix socket, and keeps the lines that its clients send until somebody takes them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import socket
import stat
import threading
import time
from collections import deque
from pathlib import Path

from kshot.errors import InputError

MOST_HELD_BYTES = 32 << 20
"""Of lines that nobody took; then nothing is received until some are."""
_MOST_LINE_BYTES = 4 << 20
_MOST_CLIENTS = 16
_RECEIVE_BYTES = 1 << 20
_MOST_DATAGRAMS = 1_024
"""Received in one go."""
_MOST_PATH_BYTES = 107
"""See unix(7)."""
_POLL_SECONDS = 0.2
_LOOK_SECONDS = 2.0
"""Between two looks whether the socket is still where clients seek it."""


class UnixLines:
    """Receives in a thread of its own, because a kernel holds little: some hundred lines, then the sender must wait.

    path: where to listen. datagrams: whether each datagram is a line; else clients connect, several at a time and one
    after another, and send lines. `held_bytes` of lines wait at most to be taken.
    """

    def __init__(self, path: Path, *, datagrams: bool, most_held_bytes: int = MOST_HELD_BYTES) -> None:
        self.path = path
        self.waits = 0
        """How often nothing was received until lines were taken."""
        self.clients = 0
        """That connected so far."""
        self.held_bytes = 0
        self._type = socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM
        self._most_held_bytes = most_held_bytes
        self._listener: socket.socket | None = None
        self._identity = (0, 0)
        self._unfinished: dict[socket.socket, bytearray] = {}
        """What each client sent since its last newline."""
        self._room = bytearray(_RECEIVE_BYTES)
        self._held: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._problems: list[str] = []
        self._failed: BaseException | None = None
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_ousted = False

    def open(self) -> None:
        """Listen. Raises `InputError` if that cannot be done there, or another process does."""
        self._listener, self._identity = _bound(self.path, self._type)
        self._thread = threading.Thread(target=self._receive, name="kshot-unix-lines", daemon=True)
        self._thread.start()

    def take(self, most_bytes: int, wait_seconds: float = 0.0) -> bytes:
        """Return whole lines, each with its newline, as soon as there are any; none if none came in `wait_seconds`."""
        taken: list[bytes] = []
        with self._changed:
            if not self._held and not self._failed:
                self._changed.wait(wait_seconds)
            if self._failed is not None and not self._held:
                raise self._failed
            size = 0
            while self._held and (not taken or size + len(self._held[0]) <= most_bytes):
                taken.append(self._held.popleft())
                size += len(taken[-1])
            self.held_bytes -= size
            self._changed.notify_all()
        return b"".join(taken)

    def problems(self) -> list[str]:
        """Take what went wrong since the last call."""
        with self._changed:
            told, self._problems = self._problems, []
        return told

    def end(self) -> None:
        """Take what was sent by now, and listen no more; what was received can still be taken."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """End, and forget what nobody took."""
        self.end()
        self._held.clear()
        self.held_bytes = 0

    def _receive(self) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                self._watch(selector)
        except BaseException as error:
            with self._changed:
                self._failed = error
                self._changed.notify_all()
        finally:
            self._leave()

    def _watch(self, selector: selectors.BaseSelector) -> None:
        look_at = time.monotonic() + _LOOK_SECONDS
        while not self._ending.is_set():
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + _LOOK_SECONDS
                self._look()
            with self._changed:
                if self.held_bytes >= self._most_held_bytes:
                    self.waits += 1
                    while self.held_bytes >= self._most_held_bytes and not self._ending.is_set():
                        self._changed.wait(_POLL_SECONDS)
            self._register(selector)
            for key, _ in selector.select(_POLL_SECONDS):
                self._hear(key.fileobj)  # type: ignore[arg-type]

    def _register(self, selector: selectors.BaseSelector) -> None:
        """Wait for those that may be heard; who finds no place stays in the kernel's queue."""
        wanted = {*self._unfinished}
        if self._listener is not None and len(wanted) < _MOST_CLIENTS:
            wanted.add(self._listener)
        registered = {key.fileobj: key for key in selector.get_map().values()}
        for gone in registered.keys() - wanted:
            selector.unregister(gone)
        for new in wanted - registered.keys():
            selector.register(new, selectors.EVENT_READ)

    def _hear(self, heard: socket.socket) -> None:
        if heard is self._listener and self._type == socket.SOCK_STREAM:
            with contextlib.suppress(OSError):  # it thought better of it
                client, _ = heard.accept()
                client.setblocking(False)
                self._unfinished[client] = bytearray()
                self.clients += 1
        elif heard is self._listener:
            self._hear_datagrams(heard)
        else:
            self._hear_client(heard)

    def _hear_client(self, client: socket.socket) -> bool:
        """Take what a client sent; False if there is nothing more of it by now."""
        try:
            data = client.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        kept = self._unfinished[client]
        if not data:
            # What it ends with is as much of the line as there will ever be.
            self._give(bytes(kept) + b"\n" if kept else b"")
        else:
            end = data.rfind(b"\n") + 1
            if end:
                self._give(bytes(kept) + data[:end])
                kept.clear()
            kept += data[end:]
            if len(kept) <= _MOST_LINE_BYTES:
                return True
            self._tell(f"{self.path}: a line is longer than 4 MiB; its client was disconnected")
        del self._unfinished[client]
        client.close()
        return False

    def _hear_datagrams(self, listener: socket.socket) -> bool:
        given: list[bytes] = []
        for _ in range(_MOST_DATAGRAMS):
            try:
                size, _, flags, _ = listener.recvmsg_into([self._room])
            except OSError:
                break
            line = bytes(memoryview(self._room)[:size])
            if flags & socket.MSG_TRUNC:
                self._tell(f"{self.path}: a datagram is longer than 1 MiB, and was cut")
            given.append(line if line.endswith(b"\n") else line + b"\n")
        self._give(b"".join(given))
        return bool(given)

    def _give(self, lines: bytes) -> None:
        if not lines:
            return
        with self._changed:
            self._held.append(lines)
            self.held_bytes += len(lines)
            self._changed.notify_all()

    def _tell(self, problem: str) -> None:
        with self._changed:
            if len(self._problems) < _MOST_CLIENTS:
                self._problems.append(problem)

    def _look(self) -> None:
        """Listen anew if the socket is no longer where clients seek it."""
        if self._listener is None or _identity(self.path) == self._identity:
            return
        try:
            fresh, identity = _bound(self.path, self._type)
        except InputError as error:
            if not self._is_ousted:
                self._tell(f"{error.where}: nobody new can connect: {error.what}")
            self._is_ousted = True
            return
        self._tell(f"{self.path}: was removed; kshot listens there anew")
        old, self._listener, self._identity, self._is_ousted = self._listener, fresh, identity, False
        self._empty(old)
        old.close()

    def _empty(self, listener: socket.socket) -> None:
        """Take what was sent to it by now."""
        if self._type == socket.SOCK_DGRAM:
            while self.held_bytes < 2 * self._most_held_bytes and self._hear_datagrams(listener):
                pass
            return
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                client.setblocking(False)
                self._unfinished[client] = bytearray()
                self.clients += 1

    def _leave(self) -> None:
        """Remove the socket, and hear the clients out as far as there is room."""
        if self._listener is None:
            return
        with contextlib.suppress(OSError):
            if _identity(self.path) == self._identity:
                self.path.unlink()
        self._empty(self._listener)
        self._listener.close()
        self._listener = None
        for client in [*self._unfinished]:
            while self.held_bytes < 2 * self._most_held_bytes and self._hear_client(client):
                pass
            client.close()
        self._unfinished.clear()


def _identity(path: Path) -> tuple[int, int]:
    try:
        status = path.lstat()
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def _bound(path: Path, kind: socket.SocketKind) -> tuple[socket.socket, tuple[int, int]]:
    """A socket that listens at `path`, for its owner and the group of its folder, and its device and inode."""
    if not path.name:
        raise InputError(str(path), "is no path of a socket", "give one, such as /run/suricata/eve.sock")
    if len(os.fsencode(path)) > _MOST_PATH_BYTES:
        raise InputError(str(path), f"is longer than the {_MOST_PATH_BYTES} bytes that a socket's path may have")
    made = socket.socket(socket.AF_UNIX, kind)
    folder = -1
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        # Of two that start at once, one must not remove the other's socket for a stale one.
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove_stale(path, kind)
        made.setblocking(False)
        os.fchmod(made.fileno(), 0o660)
        before = os.umask(0o007)
        try:
            made.bind(str(path))
        finally:
            os.umask(before)
        identity = _given_to_group(path, os.fstat(folder).st_gid)
        if kind == socket.SOCK_STREAM:
            made.listen(_MOST_CLIENTS)
    except OSError as error:
        made.close()
        what = (error.strerror or str(error)).lower()
        raise InputError(
            str(path), f"no socket can be made there: {what}", "check the folder and its rights"
        ) from error
    except InputError:
        made.close()
        raise
    finally:
        if folder >= 0:
            os.close(folder)
    return made, identity


def _given_to_group(path: Path, group: int) -> tuple[int, int]:
    """Let the group of the folder connect, if we may say so; return the socket's device and inode."""
    # By a descriptor, so that nothing that was put in its place gets another group.
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISSOCK(status.st_mode) and status.st_uid == os.geteuid() and status.st_gid != group:
            with contextlib.suppress(OSError):
                os.chown(f"/proc/self/fd/{descriptor}", -1, group)
        return status.st_dev, status.st_ino
    finally:
        os.close(descriptor)


def _remove_stale(path: Path, kind: socket.SocketKind) -> None:
    """Remove a socket on which nobody listens any more."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise InputError(str(path), "is there, and is no socket", "give another path, or remove it")
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except PermissionError:
            raise
        except OSError:
            pass  # one of another kind, or one whose queue is full
    raise InputError(str(path), "another process listens there", "stop it, or give another path")
