"""Bytes of a file, a pipe or stdin, decompressed on the way, a little at a time."""

from __future__ import annotations

import bz2
import io
import lzma
import os
import signal
import sys
import threading
import zlib
from pathlib import Path
from typing import BinaryIO, Protocol

from kshot.errors import InputError

BOMB_OUTPUT_BYTES = 256 << 20
"""Below this much output nothing is called a bomb: it is read in a fraction of a second."""
BOMB_RATIO = 200
"""Beyond it, output over input: deflate reaches 1,032, zstd 32,768, captures of full frames of zeros 100."""
WINDOW_BYTES = 128 << 20
"""The most memory that a zstd or xz stream may ask for; `zstd -19` asks for 8 MiB, `xz -9` for 65."""
STDIN = "-"

_PIECE_BYTES = 512 << 10
_BLOCK_BYTES = 64 << 10
_MAGICS = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"))
_MAGIC_BYTES = 6


class _Broken(Exception):
    """A decompressor cannot go on; the text says why."""


class _Decoder(Protocol):
    """One compressed member: gzip member, zstd frame, bzip2 or xz stream."""

    feed_bytes: int
    """How much input to offer at once: little enough that what it may swell to fits in memory."""

    def decode(self, data: bytes) -> bytes:
        """Return the next piece of output; b"" if it needs more input. Raises `_Broken`."""

    @property
    def hungry(self) -> bool:
        """True if no output is left without more input."""

    @property
    def rest(self) -> bytes | None:
        """Input after this member's end; None while the member goes on."""


class _Gzip:
    feed_bytes = 8 << 10

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)
        self._full = False

    def decode(self, data: bytes) -> bytes:
        try:
            out = self._inflate.decompress(self._inflate.unconsumed_tail + data, _PIECE_BYTES)
        except zlib.error as error:
            raise _Broken("gzip data is broken") from error
        self._full = len(out) == _PIECE_BYTES
        return out

    @property
    def hungry(self) -> bool:
        return not self._full and not self._inflate.unconsumed_tail

    @property
    def rest(self) -> bytes | None:
        return self._inflate.unused_data if self._inflate.eof else None


class _Bounded:
    """bzip2 and xz: the standard library gives both the same face."""

    feed_bytes = 8 << 10

    def __init__(self, decoder: bz2.BZ2Decompressor | lzma.LZMADecompressor, name: str) -> None:
        self._decoder = decoder
        self._name = name

    def decode(self, data: bytes) -> bytes:
        try:
            return self._decoder.decompress(data, _PIECE_BYTES)
        except (OSError, ValueError, EOFError, lzma.LZMAError) as error:
            raise _Broken(f"{self._name} data is broken") from error
        except MemoryError as error:  # xz says how large a dictionary it wants
            raise _Broken(f"{self._name} wants more than {WINDOW_BYTES >> 20} MiB of memory") from error

    @property
    def hungry(self) -> bool:
        return self._decoder.needs_input

    @property
    def rest(self) -> bytes | None:
        return self._decoder.unused_data if self._decoder.eof else None


class _Zstd:
    # The library bounds no output; four bytes make a block of 128 KiB at worst, so 512 make 16 MiB.
    feed_bytes = 1 << 9

    def __init__(self) -> None:
        import zstandard

        self._error = zstandard.ZstdError
        self._decoder = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES).decompressobj()

    def decode(self, data: bytes) -> bytes:
        try:
            return self._decoder.decompress(data) if data else b""
        except self._error as error:
            if "memory" in str(error):
                raise _Broken(f"zstd wants more than {WINDOW_BYTES >> 20} MiB of memory") from error
            raise _Broken("zstd data is broken") from error

    @property
    def hungry(self) -> bool:
        return True

    @property
    def rest(self) -> bytes | None:
        return self._decoder.unused_data if self._decoder.eof else None


def _decoder_of(kind: str) -> _Decoder:
    if kind == "gzip":
        return _Gzip()
    if kind == "zstd":
        return _Zstd()
    if kind == "bzip2":
        return _Bounded(bz2.BZ2Decompressor(), kind)
    return _Bounded(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=WINDOW_BYTES), kind)


def compression_of(start: bytes) -> str | None:
    """Name the compression of a file that begins with `start` (6 bytes), by its magic; None if we read none such."""
    return next((name for magic, name in _MAGICS if start.startswith(magic)), None)


class ByteStream:
    """The plain bytes of `path` ("-" is stdin), whatever they are packed in.

    >>> import gzip, pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "packed")
    ...     _ = file.write_bytes(gzip.compress(b"hello"))
    ...     with ByteStream(file) as stream:
    ...         into = bytearray(8)
    ...         stream.readinto(memoryview(into)), bytes(into[:5]), stream.compression
    (5, b'hello', 'gzip')
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.name = "standard input" if str(path) == STDIN else str(path)
        """For messages."""
        self.size_bytes: int | None = None
        """Of the file as it lies there; None for pipes and before opening."""
        self.consumed_bytes = 0
        """Of the file as it lies there, read so far."""
        self.produced_bytes = 0
        """Plain bytes given so far."""
        self.compression: str | None = None
        """"gzip", "zstd", "bzip2", "xz" or None."""
        self.damage: str | None = None
        """Why the stream ended early; None if it did not."""
        self._file: BinaryIO | None = None
        self._ours = False
        self._head = b""
        self._decoder: _Decoder | None = None
        self._block = b""
        self._at = 0
        self._output = memoryview(b"")

    def __enter__(self) -> ByteStream:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Open the file and look at its magic. Raises `InputError` if it cannot be read."""
        if str(self.path) == STDIN:
            _let_interrupts_through()
            self._file = getattr(sys.stdin, "buffer", None)
            if self._file is None or sys.stdin.isatty():
                raise InputError(self.name, "nothing is piped in", "give a file, or pipe a capture into '-'")
        else:
            try:
                # Unbuffered: pieces go straight into the reader's own buffer.
                self._file = Path(self.path).open("rb", buffering=0)
            except FileNotFoundError as error:
                raise InputError(self.name, "no such file", "check the path") from error
            except IsADirectoryError as error:
                raise InputError(self.name, "is a folder", "name the files in it") from error
            except (OSError, ValueError) as error:
                raise InputError(self.name, _reason(error), "check the path and its rights") from error
            self._ours = True
            self.size_bytes = _regular_size(self._file)
        try:
            self._head = self._read_head()
        except InputError:
            self.close()
            raise
        self.compression = compression_of(self._head)

    def close(self) -> None:
        """Close what `open` opened; stdin stays open."""
        if self._file is not None and self._ours:
            self._file.close()
        self._file = None

    def readinto(self, view: memoryview) -> int:
        """Fill the start of `view` with the next plain bytes; return how many, 0 at the end.

        Raises `InputError` where reading fails and where the stream swells like a decompression bomb.
        """
        if self.compression is None:
            count = self._raw_into(view)
            self.produced_bytes += count
            return count
        if not self._output and not self._next_output():
            return 0
        count = min(len(view), len(self._output))
        view[:count] = self._output[:count]
        self._output = self._output[count:]
        self.produced_bytes += count
        return count

    def _next_output(self) -> bool:
        """Decode until there is output; False at the end, with `damage` set if it came early."""
        while self.damage is None:
            if self._decoder is None:
                if not self._start_member():
                    return False
                continue
            piece = b""
            if self._decoder.hungry:
                piece = self._piece(self._decoder.feed_bytes)
                if not piece:
                    self.damage = f"the {self.compression} stream is cut"
                    return False
            try:
                out = self._decoder.decode(piece)
            except _Broken as error:
                self.damage = str(error)
                return False
            rest = self._decoder.rest
            if rest is not None:
                self._decoder = None
                self._at -= len(rest)  # it is the end of the piece last taken: give it back
            if out:
                self._output = memoryview(out)
                self._refuse_bomb(self.produced_bytes + len(out))
                return True
        return False

    def _start_member(self) -> bool:
        """Begin the next member, if one follows; tools join files by simply appending them."""
        assert self.compression is not None
        while len(self._block) - self._at < _MAGIC_BYTES and self._next_block():
            pass
        start = self._block[self._at : self._at + _MAGIC_BYTES]
        if compression_of(start) == self.compression or start[1:4] == b"\x2a\x4d\x18":  # zstd's skippable frame
            self._decoder = _decoder_of(self.compression)
            return True
        if start.strip(b"\0"):  # tape and block padding is no damage
            self.damage = f"what follows the {self.compression} stream is something else"
        return False

    def _piece(self, size: int) -> bytes:
        """Up to `size` bytes of the file; b"" at its end."""
        if self._at == len(self._block):
            self._next_block()
        piece = self._block[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def _next_block(self) -> bool:
        block = bytearray(_BLOCK_BYTES)
        count = self._raw_into(memoryview(block))
        self._block = self._block[self._at :] + bytes(memoryview(block)[:count])
        self._at = 0
        return count > 0

    def _raw_into(self, view: memoryview) -> int:
        if self._head:
            count = min(len(view), len(self._head))
            view[:count] = self._head[:count]
            self._head = self._head[count:]
            return count
        count = self._file_into(view)
        self.consumed_bytes += count
        return count

    def _file_into(self, view: memoryview) -> int:
        if self._file is None:
            return 0
        try:
            if isinstance(self._file, io.BufferedReader):
                return self._file.readinto1(view)
            return self._file.readinto(view) or 0  # type: ignore[attr-defined]
        except OSError as error:
            raise InputError(self.name, f"reading failed: {_reason(error)}", "check the disk or the pipe") from error

    def _read_head(self) -> bytes:
        head = bytearray(_MAGIC_BYTES)
        filled = 0
        while filled < _MAGIC_BYTES and (count := self._raw_into(memoryview(head)[filled:])):
            filled += count
        return bytes(head[:filled])

    def _refuse_bomb(self, produced: int) -> None:
        if produced > BOMB_OUTPUT_BYTES and produced > BOMB_RATIO * self.consumed_bytes:
            ratio = produced // max(self.consumed_bytes, 1)
            raise InputError(
                self.name,
                f"swells {ratio}-fold, past {produced >> 20} MiB: it looks like a decompression bomb",
                "if it is none, decompress it yourself and pipe it into '-'",
            )


def _regular_size(file: BinaryIO) -> int | None:
    import stat

    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text[:1].lower() + text[1:]


def _let_interrupts_through() -> None:
    """A read of a pipe ends at Ctrl-C: polars, once imported, has the system begin such a read again (SA_RESTART)."""
    if threading.current_thread() is threading.main_thread():
        signal.siginterrupt(signal.SIGINT, True)
