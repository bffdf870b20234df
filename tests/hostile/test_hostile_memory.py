"""Peak memory of the program on 32 MiB, and under a limit on its address space (R2)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.load import syn_flood

MOST_RESIDENT_BYTES = 512 << 20
ADDRESS_SPACE_BYTES = 2 << 30


# In between, for the system counts what the process was before exec as well: a test runner's whole memory.
_BETWEEN = """
import resource, subprocess, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
ran = subprocess.run(sys.argv[2:], stderr=subprocess.PIPE)
sys.stderr.buffer.write(ran.stderr)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(ran.returncode)
"""


def _run(*arguments: object) -> tuple[int, int, str]:
    """Exit code, peak resident bytes and stderr of the program within 2 GiB of address space."""
    command = [sys.executable, "-S", "-c", _BETWEEN, ADDRESS_SPACE_BYTES, sys.executable, "-m", "kshot", *arguments]
    ran = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    return ran.returncode, int(ran.stdout.split()[-1]) << 10, ran.stderr


@pytest.mark.slow  # 430,000 flows are metered and written by a process of its own
def test_a_flood_of_32_mib_is_metered_within_half_a_gibibyte(tmp_path: Path) -> None:
    syn_flood(430_000).tofile(tmp_path / "flood.pcap")
    assert (tmp_path / "flood.pcap").stat().st_size > 31 << 20
    code, resident_bytes, said = _run("flows", tmp_path / "flood.pcap", "--output", tmp_path / "flows.parquet")
    assert (code, said) == (0, "")
    assert resident_bytes <= MOST_RESIDENT_BYTES


def test_without_room_it_says_so_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syn_flood(2_000).tofile(tmp_path / "flood.pcap")
    # What numba asks numpy for: more than there is.
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text(
        "import kshot.flows\n"
        "def drain(self): import numpy; return [numpy.empty(1 << 40, numpy.uint8)]\n"
        "kshot.flows.FlowMeter.drain = drain\n"
    )
    code, _, said = _run("flows", tmp_path / "flood.pcap", "--output", tmp_path / "flows.csv")
    assert code == 2
    assert said.startswith("kshot: out of memory; give it more") and said.count("\n") == 1
    assert not list(tmp_path.glob("*.csv*")) and not list(tmp_path.glob(".flows*"))
