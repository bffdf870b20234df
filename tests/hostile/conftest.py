"""The hostile set, unpacked once for these tests, and the way to the builders of `benchmarks`."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="session")
def hostile_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the shared hostile files; skips where they are absent."""
    from benchmarks.mutants import unpack

    archive = ROOT / "../shared/data/hostile.tar.xz"
    if not archive.exists():
        pytest.skip("needs shared/data beside the checkout")
    return unpack(archive, tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have the kernels compiled before anything is timed."""
    from benchmarks.hostile import meter
    from benchmarks.load import enhanced, interface, pcap, section, traffic

    path = tmp_path_factory.mktemp("compiled") / "x"
    path.write_bytes(pcap(traffic(3, seed=1)))
    assert meter(path).flows >= 3
    path.write_bytes(section() + interface() + enhanced(bytes(60)))
    assert meter(path).packets == 1
