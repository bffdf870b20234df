"""Address text: against the standard library, and RFC 5952's own examples."""

from __future__ import annotations

import ipaddress

import pytest
from frame_builders import batch as frames
from frame_builders import ethernet, ip, metered, tcp
from hypothesis import example, given, settings
from hypothesis import strategies as st


def written(*addresses: str) -> list[str]:
    other = "1.2.3.4" if "." in addresses[0] and ":" not in addresses[0] else "2001:db8::ffff"
    flows = metered(frames([ethernet(ip(a, other, 6, tcp(1, 2))) for a in addresses]))
    order = flows.sort("first_time")
    return order["originator"].to_list()


GROUPS = st.lists(st.sampled_from([0, 0, 0, 1, 0xF, 0x10, 0xABC, 0xFFFF]), min_size=8, max_size=8)


@settings(max_examples=80, deadline=None)
@given(groups=GROUPS)
@example(groups=[0] * 8)
@example(groups=[1] * 8)
@example(groups=[1, 0, 2, 0, 0, 3, 0, 0])
@example(groups=[0x2001, 0xDB8, 0, 1, 1, 1, 1, 1])
def test_ipv6_is_what_the_standard_library_writes(groups: list[int]) -> None:
    text = ":".join(f"{group:x}" for group in groups)
    address = ipaddress.IPv6Address(text)
    if address.ipv4_mapped is None:
        assert written(text) == [address.compressed]


@pytest.mark.kernel
def test_golden_texts() -> None:
    assert written("0.0.0.0", "255.255.255.255", "10.20.100.9") == ["0.0.0.0", "255.255.255.255", "10.20.100.9"]
    golden = ["2001:db8::2:1", "2001:db8:0:1:1:1:1:1", "2001:0:0:1::1", "::ffff:192.0.2.128", "::"]
    assert written(*golden) == golden


@settings(max_examples=40, deadline=None)
@given(address=st.ip_addresses(v=4))
def test_ipv4_is_what_the_standard_library_writes(address: ipaddress.IPv4Address) -> None:
    assert written(str(address)) == [str(address)]
