"""The flags of a live interface, and its socket: opened first, with no rights left after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import socket

PANEL = "Live interface"

Interface = Annotated[
    str | None,
    typer.Option("--interface", metavar="IF", help="Listen on this network interface.", rich_help_panel=PANEL),
]
Ring = Annotated[
    int,
    typer.Option(
        "--ring", metavar="MIB", min=2, max=4_096, help="How many MiB of packets may wait.", rich_help_panel=PANEL
    ),
]
FanoutGroup = Annotated[
    int | None,
    typer.Option(
        "--fanout-group",
        metavar="ID",
        min=0,
        max=65_535,
        help="Share the flows of the interface with the other processes of this group.",
        rich_help_panel=PANEL,
    ),
]
NoEarly = Annotated[
    bool,
    typer.Option("--no-early", help="Judge flows of --interface only when they end.", rich_help_panel=PANEL),
]


def packet_socket(interface: str) -> socket.socket:
    """Open what hears `interface`, and give up all rights: no more are needed. Raises `InputError`."""
    from kshot.sources.packet_socket import check_interface, open_packet_socket
    from kshot.sources.rights import drop_rights

    packets = open_packet_socket(interface)
    try:
        check_interface(packets, interface)
        drop_rights()
    except BaseException:
        packets.close()
        raise
    return packets
