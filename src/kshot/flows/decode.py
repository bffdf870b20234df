"""From a frame's bytes to key, side, payload and flags, in one flat loop over the layers."""

from __future__ import annotations

from kshot.flows.fields import (
    F_FLAGS,
    F_FRAGMENT,
    F_FRAGMENT_KEY,
    F_PAYLOAD,
    F_PAYLOAD_CAPTURED,
    F_PAYLOAD_START,
    F_PROTOCOL,
    F_TTL,
    F_WINDOW,
    KEY_IPV6,
    TUNNEL_GRE,
    TUNNEL_GTPU,
    TUNNEL_IPIP,
    TUNNEL_NONE,
    TUNNEL_VXLAN,
    set_key,
)
from kshot.flows.headers import (
    ETHERNET,
    IPV4,
    IPV6,
    MALFORMED,
    METERED,
    NON_IP,
    PPP,
    RAW,
    TRUNCATED,
    TYPE,
    Bytes,
    Words,
    first_layer,
    gre_payload,
    gtpu_payload,
    icmp_ports,
)
from kshot.flows.layout import int64
from kshot.jit import njit_step, read_be16, read_be32, read_be64

_MAX_LAYERS = 32
_MAX_EXTENSIONS = 12
_MAX_TUNNELS = 4


@njit_step
def decode_frame(
    buffer: Bytes, start: int, captured: int, wire: int, link: int, unwrap: bool, fields: Words, to: int
) -> int:
    """Decode one frame into `fields[to:]` and return its verdict; they hold a packet only if that is METERED.

    buffer: all frames; start, captured: where this one lies. wire: its length on the wire, never below captured.
    unwrap: look into tunnels, up to four deep. Reads within buffer[start : start + captured] alone, in bounded time.
    """
    captured_end = start + captured
    wire_end = start + max(wire, captured)
    layer, kind, at = first_layer(buffer, start, captured_end, wire_end, link)
    if layer < 0:
        return -1 - layer
    found = False
    verdict = MALFORMED
    network = int64(0)
    tunnel = TUNNEL_NONE
    vni = int64(0)
    tunnels = 0
    tags = int64(0)
    a = b = c = d = int64(0)
    fragment = 0
    fields[to + F_FRAGMENT] = 0
    for _ in range(_MAX_LAYERS):
        protocol = int64(0)
        ports = int64(0)
        ttl = int64(0)
        later = False
        first = False
        identification = int64(0)
        if layer == ETHERNET:
            if at + 14 > captured_end:
                verdict = TRUNCATED if at + 14 <= wire_end else MALFORMED
                break
            kind = read_be16(buffer, at + 12)
            at += 14
            tags = int64(0)
            layer = TYPE
            continue
        if layer == TYPE:
            if kind == 0x0800:
                layer = IPV4
            elif kind == 0x86DD:
                layer = IPV6
            elif kind == 0x8100 or kind == 0x88A8 or kind == 0x9100:
                if at + 4 > captured_end:
                    verdict = TRUNCATED if at + 4 <= wire_end else MALFORMED
                    break
                tags = ((tags << 12) | (read_be16(buffer, at) & 0xFFF)) & 0xFFFFFF
                network = tags
                kind = read_be16(buffer, at + 2)
                at += 4
            elif kind == 0x8847 or kind == 0x8848:
                if at + 5 > captured_end:
                    verdict = TRUNCATED if at + 5 <= wire_end else MALFORMED
                    break
                bottom = buffer[at + 2] & 1
                at += 4
                if bottom:
                    nibble = buffer[at] >> 4
                    if nibble == 4:
                        layer = IPV4
                    elif nibble == 6:
                        layer = IPV6
                    elif nibble == 0:
                        # A pseudowire's control word (RFC 4448), then an Ethernet frame.
                        at += 4
                        layer = ETHERNET
                    else:
                        verdict = NON_IP
                        break
            elif kind == 0x8864:
                if at + 6 > captured_end:
                    verdict = TRUNCATED if at + 6 <= wire_end else MALFORMED
                    break
                at += 6
                layer = PPP
            elif kind < 1536 and kind >= 8:
                # 802.3: the field is a length; only LLC/SNAP with a zero organisation leads on to an EtherType.
                if at + 8 > captured_end:
                    verdict = NON_IP
                    break
                if read_be32(buffer, at) != 0xAAAA0300 or read_be16(buffer, at + 4) != 0:
                    verdict = NON_IP
                    break
                kind = read_be16(buffer, at + 6)
                at += 8
            else:
                verdict = NON_IP
                break
            continue
        if layer == PPP:
            if at + 4 > captured_end:
                verdict = TRUNCATED if at + 4 <= wire_end else MALFORMED
                break
            if read_be16(buffer, at) == 0xFF03:
                at += 2
            if buffer[at] & 1:
                kind = int64(buffer[at])
                at += 1
            elif at + 2 <= captured_end:
                kind = read_be16(buffer, at)
                at += 2
            if kind == 0x21:
                layer = IPV4
            elif kind == 0x57:
                layer = IPV6
            elif kind == 0x281 or kind == 0x283:
                layer = TYPE
                kind = 0x8847
            else:
                verdict = NON_IP
                break
            continue
        if layer == RAW:
            if at + 1 > captured_end:
                verdict = TRUNCATED if at + 1 <= wire_end else MALFORMED
                break
            layer = IPV6 if buffer[at] >> 4 == 6 else IPV4

        # The two network layers: both leave addresses, protocol, `at` at the transport header and wire_end at its end.
        if layer == IPV4:
            if at + 20 > captured_end:
                verdict = TRUNCATED if at + 20 <= wire_end else MALFORMED
                break
            header = (int64(buffer[at]) & 15) * 4
            total = read_be16(buffer, at + 2)
            # Zero total length: segmentation offload; the frame's own length stands in.
            if total == 0 or total > wire_end - at:
                total = wire_end - at
            if buffer[at] >> 4 != 4 or header < 20 or total < header:
                break
            if at + header > captured_end:
                verdict = TRUNCATED
                break
            wire_end = at + total
            captured_end = min(captured_end, wire_end)
            ttl = int64(buffer[at + 8])
            protocol = int64(buffer[at + 9])
            ports = protocol
            a = int64(0)
            b = read_be32(buffer, at + 12)
            c = int64(0)
            d = read_be32(buffer, at + 16)
            shift = read_be16(buffer, at + 6) & 0x3FFF
            if shift:
                identification = read_be16(buffer, at + 4)
                later = (shift & 0x1FFF) != 0
                first = not later
            at += header
        else:
            if at + 40 > captured_end:
                verdict = TRUNCATED if at + 40 <= wire_end else MALFORMED
                break
            if buffer[at] >> 4 != 6:
                break
            length = read_be16(buffer, at + 4)
            protocol = int64(buffer[at + 6])
            ttl = int64(buffer[at + 7])
            # Zero payload length: a jumbogram or segmentation offload, unless nothing is to follow.
            if (length != 0 or protocol == 59) and at + 40 + length < wire_end:
                wire_end = at + 40 + length
            captured_end = min(captured_end, wire_end)
            a = read_be64(buffer, at + 8)
            b = read_be64(buffer, at + 16)
            c = read_be64(buffer, at + 24)
            d = read_be64(buffer, at + 32)
            at += 40
            sound = False
            verdict = MALFORMED
            for _ in range(_MAX_EXTENSIONS):
                if not (
                    protocol == 0 or protocol == 43 or protocol == 44 or protocol == 51 or protocol == 60
                    or protocol == 135 or protocol == 139 or protocol == 140
                ):  # fmt: skip
                    sound = True
                    break
                if at + 8 > captured_end:
                    verdict = TRUNCATED if at + 8 <= wire_end else MALFORMED
                    break
                extent = (int64(buffer[at + 1]) + 1) * 8
                if protocol == 44:
                    extent = int64(8)
                    shift = read_be16(buffer, at + 2) & 0xFFF9
                    # An atomic fragment (RFC 6946) is whole.
                    if shift:
                        identification = read_be32(buffer, at + 4)
                        later = (shift >> 3) != 0
                        first = not later
                elif protocol == 51:
                    extent = (int64(buffer[at + 1]) + 2) * 4
                if at + extent > captured_end:
                    verdict = TRUNCATED if at + extent <= wire_end else MALFORMED
                    break
                protocol = int64(buffer[at])
                at += extent
                if later:
                    sound = True
                    break
            if not sound:
                break
            ports = protocol | KEY_IPV6

        # The transport layer.
        place = network | (tunnel << 24) | (vni << 27)
        size = wire_end - at
        payload_start = at
        sport = int64(0)
        dport = int64(0)
        flags = int64(0)
        window = int64(-1)
        one_way = False
        if not later:
            need = 0
            if protocol == 6:
                need = 20
            elif protocol == 17 or protocol == 136:
                need = 8
            elif protocol == 132:
                need = 12
            elif protocol == 1 or protocol == 58:
                need = 4
            if need:
                # A first fragment may be tiny, as long as it shows the ports.
                if size < (4 if first else need):
                    verdict = MALFORMED
                    break
                if at + (2 if need == 4 else 4) > captured_end:
                    verdict = TRUNCATED
                    break
            if protocol == 6:
                header = int64(20)
                if at + 14 <= captured_end:
                    header = (int64(buffer[at + 12]) >> 4) * 4
                    flags = int64(buffer[at + 13])
                    if header < 20 or (header > size and not first):
                        verdict = MALFORMED
                        break
                if at + 16 <= captured_end:
                    window = read_be16(buffer, at + 14)
                payload_start = at + header
            elif protocol == 17:
                payload_start = at + 8
                if at + 6 <= captured_end:
                    length = read_be16(buffer, at + 4)
                    if length != 0 and length < 8:
                        verdict = MALFORMED
                        break
                    if length != 0 and length < size:
                        size = length
            elif need:
                payload_start = at + (8 if need == 4 else need)
            if need == 4:
                sport, dport, one_way = icmp_ports(protocol == 58, int64(buffer[at]), int64(buffer[at + 1]))
            elif need:
                sport = read_be16(buffer, at)
                dport = read_be16(buffer, at + 2)
        payload = max(0, at + size - payload_start)
        set_key(fields, to, a, b, c, d, sport, dport, ports, place, one_way)
        fields[to + F_PAYLOAD] = payload
        fields[to + F_PAYLOAD_START] = payload_start
        fields[to + F_PAYLOAD_CAPTURED] = max(0, min(payload, captured_end - payload_start))
        fields[to + F_FLAGS] = flags
        fields[to + F_WINDOW] = window
        fields[to + F_TTL] = ttl
        fields[to + F_PROTOCOL] = protocol
        if (first or later) and fragment == 0:
            # Only the outermost fragmentation is followed.
            fragment = 2 if later else 1
            fields[to + F_FRAGMENT] = fragment
            fields[to + F_FRAGMENT_KEY] = a
            fields[to + F_FRAGMENT_KEY + 1] = b
            fields[to + F_FRAGMENT_KEY + 2] = c
            fields[to + F_FRAGMENT_KEY + 3] = d
            fields[to + F_FRAGMENT_KEY + 4] = (identification << 16) | ports
            fields[to + F_FRAGMENT_KEY + 5] = place
        found = True
        if later or not unwrap or tunnels == _MAX_TUNNELS:
            break
        # A tunnel? What follows replaces this packet if it turns out to be a sane one.
        if protocol == 4:
            layer = IPV4
            tunnel = TUNNEL_IPIP
        elif protocol == 41:
            layer = IPV6
            tunnel = TUNNEL_IPIP
        elif protocol == 47:
            layer, kind, at = gre_payload(buffer, at, captured_end)
            tunnel = TUNNEL_GRE
        elif protocol == 17 and dport == 4789 and payload_start + 8 <= captured_end and buffer[payload_start] & 8:
            vni = read_be32(buffer, payload_start + 4) >> 8
            layer = ETHERNET
            at = payload_start + 8
            tunnel = TUNNEL_VXLAN
        elif protocol == 17 and (dport == 2152 or sport == 2152):
            at = gtpu_payload(buffer, payload_start, captured_end)
            if at < 0:
                break
            layer = RAW
            tunnel = TUNNEL_GTPU
        else:
            break
        if layer < 0:
            break
        tunnels += 1
    return METERED if found else verdict
