"""The protocols that a payload can be told to speak, and the ports that are usual for each."""

from __future__ import annotations

import numpy as np

SERVICES = (
    "none", "unknown", "adb", "amqp", "bacnet", "bitcoin", "bittorrent", "coap", "dcerpc", "dhcp", "dnp3", "dns",
    "dtls", "enip", "ftp", "http", "iec104", "imap", "ipsec", "irc", "jsonrpc", "kerberos", "ldap", "memcached",
    "modbus", "mongodb", "mqtt", "mssql", "mysql", "netbios", "ntp", "openvpn", "pop3", "postgres", "quic", "radius",
    "rdp", "redis", "rfb", "rpc", "rsync", "rtmp", "rtp", "rtsp", "s7comm", "sip", "smb", "smtp", "snmp", "soap",
    "socks", "ssdp", "ssh", "stun", "syslog", "telnet", "tftp", "tls", "wireguard", "xmpp",
)  # fmt: skip
"""What a flow may speak. "none": no payload seen; "unknown": payload that nothing here knows."""
SERVICE_ID = {name: at for at, name in enumerate(SERVICES)}

USUAL_PORTS: dict[str, tuple[int, ...]] = {
    "adb": (5555,), "amqp": (5671, 5672), "bacnet": (47808,), "bitcoin": (8333,), "coap": (5683,),
    "dcerpc": (135, 593), "dhcp": (67, 68), "dnp3": (20000,), "dns": (53, 5353, 5355), "enip": (2222, 44818),
    "ftp": (21,), "http": (80, 81, 591, 3128, 5000, 5985, 8000, 8008, 8080, 8081, 8088, 8888), "iec104": (2404,),
    "imap": (143,), "ipsec": (500, 4500), "irc": (6660, 6665, 6666, 6667, 6668, 6669), "kerberos": (88,),
    "ldap": (389, 3268), "memcached": (11211,), "modbus": (502,), "mongodb": (27017,), "mqtt": (1883,),
    "mssql": (1433,), "mysql": (3306,), "netbios": (137, 138, 139), "ntp": (123,), "openvpn": (1194,), "pop3": (110,),
    "postgres": (5432,), "radius": (1645, 1646, 1812, 1813), "rdp": (3389,), "redis": (6379,), "rfb": (5900, 5901),
    "rpc": (111, 2049), "rsync": (873,), "rtmp": (1935,), "rtsp": (554, 8554), "s7comm": (102,), "sip": (5060,),
    "smb": (139, 445), "smtp": (25, 465, 587), "snmp": (161, 162), "soap": (3702,), "socks": (1080,), "ssdp": (1900,),
    "ssh": (22, 2222), "stun": (3478, 19302), "syslog": (514,), "telnet": (23, 2323), "tftp": (69,),
    "tls": (443, 465, 563, 636, 853, 989, 990, 992, 993, 994, 995, 5061, 8443, 8883, 9443), "quic": (443,),
    "wireguard": (51820,), "xmpp": (5222, 5269),
}  # fmt: skip
"""IANA's registrations and common custom; only to ask whether payload and port agree."""

USUAL_SERVICES = np.zeros((65536, 2), np.uint8)
"""(ports, 2) ids of the services whose usual port it is, 0 where there is none."""
for _name, _ports in USUAL_PORTS.items():
    for _port in _ports:
        USUAL_SERVICES[_port, 0 if USUAL_SERVICES[_port, 0] == 0 else 1] = SERVICE_ID[_name]
