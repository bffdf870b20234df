"""An SMTP server for the range (aiosmtpd), with STARTTLS, that throws its mail away."""

from __future__ import annotations

import ssl
import sys
import time

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink


def main() -> None:
    """mailserver.py PORT FOLDER-WITH-CERTIFICATE."""
    port, folder = int(sys.argv[1]), sys.argv[2]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
    server = Controller(
        Sink(), hostname="0.0.0.0", port=port, tls_context=context, ident="mail ESMTP", ready_timeout=20,
        data_size_limit=50_000_000,
    )  # fmt: skip
    # The controller tests itself by connecting to its own address; that stays inside the namespace.
    server.start()
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
