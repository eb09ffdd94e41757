"""Sends a message to itself over TLS, and prints it, in JSON. FILE has a certificate to show and its key."""

from __future__ import annotations

import json
import sys
from typing import Any

from proton import Message, SSLDomain
from proton.handlers import MessagingHandler
from proton.reactor import Container


class Loop(MessagingHandler):
    def on_start(self, event: Any) -> None:
        _, port, ca, file = sys.argv
        domain = SSLDomain(SSLDomain.MODE_CLIENT)
        domain.set_trusted_ca_db(ca)
        domain.set_peer_authentication(SSLDomain.VERIFY_PEER_NAME)
        domain.set_credentials(file, file, None)
        connection = event.container.connect(f"amqps://localhost:{port}", ssl_domain=domain, reconnect=False)
        event.container.create_receiver(connection, "x")
        self.sender = event.container.create_sender(connection, "x")

    def on_sendable(self, event: Any) -> None:
        if not self.sender.queued and not self.sender.unsettled:
            self.sender.send(Message(body="hello"))

    def on_message(self, event: Any) -> None:
        print(json.dumps(event.message.body))

    def on_accepted(self, event: Any) -> None:
        event.connection.close()


Container(Loop()).run()
