"""Protocols without a fixed mark, told by walking their first bytes: DNS, LDAP, SNMP, Modbus, IEC 104, mail."""

from __future__ import annotations

from typing import Any

from kshot.features.services import SERVICE_ID
from kshot.jit import njit, njit_inline

_DNS, _LDAP, _SNMP = SERVICE_ID["dns"], SERVICE_ID["ldap"], SERVICE_ID["snmp"]
_MODBUS, _IEC104, _SMTP, _FTP = SERVICE_ID["modbus"], SERVICE_ID["iec104"], SERVICE_ID["smtp"], SERVICE_ID["ftp"]
_TCP, _UDP = 6, 17


@njit_inline
def u16(b: Any, at: int) -> int:
    """Read two bytes, the most significant first; `b` holds a byte in each int64."""
    return b[at] << 8 | b[at + 1]  # type: ignore[no-any-return]


@njit
def looks_like_dns(b: Any, n: int) -> bool:
    """Tell whether n bytes begin a DNS message (RFC 1035) whose question's name is well built."""
    if n < 17:
        return False
    flags, questions, answers = u16(b, 2), u16(b, 4), u16(b, 6)
    if (flags >> 11) & 15 > 5 or flags & 0x0040 or answers > 200 or questions > 4 or b[8] > 0 or b[10] > 0:
        return False
    if questions == 0:
        # Multicast DNS answers ask nothing (RFC 6762).
        return bool(flags & 0x8000 != 0 and 0 < answers < 64 and b[12] < 64)
    where, labels = 12, 0
    while where < n:
        length = b[where]
        if length == 0:
            # Type and class follow: class IN, CH, ANY or with mDNS's top bit.
            return bool(labels == 0 or where + 4 >= n or b[where + 4] in (1, 3, 254, 255))
        if length > 63:
            return bool(length >= 0xC0 and labels > 0)
        where += length + 1
        labels += 1
    return labels > 0


@njit
def _ber_service(b: Any, n: int, protocol: int) -> int:
    """Tell SNMP (RFC 3416) and LDAP (RFC 4511) by the first members of their BER sequence (X.690), or return 0."""
    body = 2
    if b[1] >= 0x80:
        body += b[1] & 7
    if b[body] != 2 or not 1 <= b[body + 1] <= 4:
        return 0
    after = body + 2 + b[body + 1]
    if after >= n:
        return 0
    if protocol == _UDP and b[body + 1] == 1 and b[body + 2] <= 3 and (b[after] == 4 or b[after] == 0x30):
        return _SNMP
    return _LDAP if 0x60 <= b[after] <= 0x79 or b[after] == 0x42 or b[after] == 0x4A else 0


@njit
def _greeting(b: Any, n: int) -> int:
    """Tell mail from file transfer, whose greetings both begin with "220", by the name they give themselves."""
    for k in range(3, n - 3):
        if b[k] == 0x53 and b[k + 1] == 0x4D and b[k + 2] == 0x54 and b[k + 3] == 0x50:
            return _SMTP
        if b[k] | 0x20 == 0x66 and b[k + 1] | 0x20 == 0x74 and b[k + 2] | 0x20 == 0x70:
            return _FTP
    return 0


@njit
def structured_service(b: Any, n: int, protocol: int) -> int:
    """Name the service of n payload bytes (n at most `len(b)` - 16), 0 if none fits."""
    if n < 6:
        return 0
    if b[0] == 0x30:
        return _ber_service(b, n, protocol)
    if protocol == _UDP:
        return _DNS if looks_like_dns(b, n) else 0
    if b[0] == 0x32 and b[1] == 0x32 and b[2] == 0x30:
        return _greeting(b, n)
    # The next message must follow where this one says it ends; more than 64 bytes are not seen.
    is_modbus = b[2] == 0 and b[3] == 0 and b[4] == 0 and b[5] >= 2 and n >= 8 and 1 <= b[7] & 0x7F <= 43
    if is_modbus:
        follow = 6 + b[5]
        if follow == n or (follow > n and n == 64) or (follow + 4 <= n and b[follow + 2] == 0 and b[follow + 3] == 0):
            return _MODBUS
    if b[0] == 0x68 and 4 <= b[1] <= 253:
        follow = 2 + b[1]
        if follow == n or (follow > n and n == 64) or (follow < n and b[follow] == 0x68):
            return _IEC104
    return _DNS if b[0] < 0x40 and looks_like_dns(b[2:], n - 2) else 0
