"""Stored kernels: what they return, where the code lies, when it is made anew."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from kshot.jit import njit_part, njit_stored
from kshot.jit.lazy import Kernel
from kshot.jit.stored import load, save, stamp_of

SOURCE = """
import numpy as np
from kshot.jit import bare, copy_bytes, njit_part, njit_step, njit_stored, read_be32

WEIGHTS = np.array([3, 4, 5])
SHIFT = 2


@njit_step
def doubled(words, i):
    return words[i] * SHIFT


@njit_part
def weighed(words, n):
    total = 0
    for i in range(n):
        total += doubled(words, i) + WEIGHTS[i % 3]
    return total


@njit_stored
def top(words, octets, n, copied):
    words, octets = bare(words), bare(octets)
    if copied:
        copy_bytes(octets, 4, octets, 0, 4)
    return weighed(words, n), read_be32(octets, 4), n > 3 and copied


@njit_stored
def mark(table):
    for row in range(table.shape[0]):
        table[row, table.shape[1] - 1] = row - 5


@njit_stored
def halved(n):
    return n / 2
"""
RUN = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import made
print(made.top(np.arange(10), np.arange(8, dtype=np.uint8), 10, True), "numba" in sys.modules)
"""


def made(folder: Path, source: str = SOURCE) -> ModuleType:
    path = folder / "made.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("made", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["made"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def no_cache_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return made(tmp_path_factory.mktemp("kernels"))


def test_results_are_those_of_the_plain_function(kernels: ModuleType) -> None:
    words = np.arange(10)
    octets = np.arange(8, dtype=np.uint8)
    expected = sum(2 * i + (3, 4, 5)[i % 3] for i in range(10))
    assert kernels.top(words, octets, 10, False) == (expected, 0x04050607, False)
    assert kernels.top(words, octets, 10, True) == (expected, 0x00010203, True)
    assert octets.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert kernels.top(words, octets, np.int64(1), np.False_) == (3, 0x00010203, False)


def test_arrays_of_two_dimensions_and_other_types_are_other_code(kernels: ModuleType) -> None:
    for table in (np.zeros((3, 4), np.int64), np.zeros((5, 2), np.int32)):
        assert kernels.mark(table) is None
        assert table[:, -1].tolist() == [row - 5 for row in range(len(table))]
        assert not table[:, :-1].any()


def test_an_array_with_gaps_is_refused(kernels: ModuleType) -> None:
    with pytest.raises(TypeError, match="gaps"):
        kernels.mark(np.zeros((4, 4), np.int64)[:, ::2])


def test_a_kernel_that_returns_a_fraction_is_refused(kernels: ModuleType) -> None:
    with pytest.raises(TypeError, match="cannot return"):
        kernels.halved(3)


def test_the_next_start_loads_it_without_numba(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(SOURCE)
    said = []
    for _ in range(2):
        command = [sys.executable, "-c", RUN, str(tmp_path)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        said.append(ran.stdout.split())
    assert said[0][-1] == "True" and said[1][-1] == "False"
    assert said[0][:-1] == said[1][:-1]
    assert [path.name.split("-")[0] for path in tmp_path.glob("__pycache__/*.kernel")] == ["made.top"]


def stamp(folder: Path, change: Callable[[str], str], kinds: tuple[str, ...] = ("int",)) -> tuple[str, str]:
    kernel = made(folder, change(SOURCE)).top
    assert isinstance(kernel, Kernel)
    told = stamp_of(kernel, kinds)
    return told.setting, told.source


def test_the_stamp_follows_what_the_code_means(tmp_path: Path) -> None:
    before = stamp(tmp_path, lambda source: source)
    assert stamp(tmp_path, lambda source: "# a word\n\n" + source.replace("and copied", "and copied  # why")) == before
    assert stamp(tmp_path, lambda source: source, ("bool",)) != before
    for old, new in (
        ("SHIFT = 2", "SHIFT = 3"),
        ("[3, 4, 5]", "[3, 4, 6]"),
        ("doubled(words, i) +", "doubled(words, i) -"),
        ("words[i] * SHIFT", "words[i] + SHIFT"),
        ("@njit_step", "@njit_part"),
        ("read_be32(", "read_be16("),
    ):
        changed = stamp(
            tmp_path, lambda source, old=old, new=new: source.replace("be32\n", "be16, read_be32\n").replace(old, new)
        )  # type: ignore[misc]
        assert changed != before, old


def test_what_was_made_from_an_older_source_goes(tmp_path: Path) -> None:
    top = made(tmp_path).top
    older = stamp_of(top, ("int",))
    save(older, b"older")
    newer = stamp_of(made(tmp_path, SOURCE.replace("SHIFT = 2", "SHIFT = 4")).top, ("int",))
    other = stamp_of(top, ("bool",))
    save(other, b"other types")
    save(newer, b"newer")
    names = {path.name for path in (tmp_path / "__pycache__").iterdir() if path.suffix == ".kernel"}
    assert names == {newer.file_name, other.file_name}


def test_a_damaged_file_is_no_code(tmp_path: Path) -> None:
    kernel = made(tmp_path).mark
    kernel(np.zeros((2, 2), np.int64))
    told = stamp_of(kernel, ("<i82",))
    (path,) = (tmp_path / "__pycache__").glob("made.mark-*.kernel")
    assert path.name == told.file_name and load(told) is not None
    whole = path.read_bytes()
    for damaged in (b"", whole[:10], whole[:-1], whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]):
        path.write_bytes(damaged)
        assert load(told) is None


def test_where_the_package_cannot_be_written_the_user_caches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    told = stamp_of(made(tmp_path).top, ("int",))
    (tmp_path / "__pycache__").write_text("not a folder")
    save(told, b"code")
    assert [path.name for path in (tmp_path / "home" / "kshot").iterdir()] == [told.file_name]


def test_a_part_is_not_for_python() -> None:
    @njit_part
    def step(n: int) -> int:
        return n + 1

    with pytest.raises(TypeError):
        step(1)


def test_a_kernel_may_call_a_kernel() -> None:
    @njit_stored
    def inner(n: int) -> int:
        return n + 1

    @njit_stored
    def outer(n: int) -> int:
        return inner(n) * 2

    assert (inner(1), outer(1)) == (2, 4)


def test_metering_loads_no_numba(tmp_path: Path) -> None:
    header = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000")
    record = bytes.fromhex("01000000 02000000 2e000000 2e000000") + bytes(12) + b"\x08\x00"
    datagram = bytes.fromhex("45000020 00000000 40110000 0a000001 0a000002 0400 0035 000c 0000 61626364")
    path = tmp_path / "one.pcap"
    path.write_bytes(header + record + datagram)
    run = (
        "import sys; from kshot.stream.metering import MeterOptions, meter; "
        "frames = list(meter([sys.argv[1]], MeterOptions())); print(frames[0].height, 'numba' in sys.modules)"
    )
    # The first start may have to compile.
    said = [
        subprocess.run([sys.executable, "-c", run, str(path)], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert said[1] == "1 False\n"
