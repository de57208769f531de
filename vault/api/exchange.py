"""What uvicorn's ASGI leaves out and a small request needs: its body at once, and an answer in one write.

ASGI sends head and body as two messages, which uvicorn writes as two packets. The protocol puts an
`Exchange` into the scope's extensions; under another server there is none, and ASGI's messages serve.
"""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

EXTENSION: Final = "coatcheck.exchange"


class Exchange:
    """One request on its connection.

    Args:
        cycle: uvicorn's state of it.

    Attributes:
        streaming: whether it may take as long as both sides make progress.
        taken: how many parts of a streamed answer the peer has taken, most of them.
    """

    __slots__ = ("_cycle", "streaming", "taken")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self.streaming = False
        self.taken = 0

    def body(self) -> bytes | None:
        """The whole body if it is here, so that nobody is waited for; else None."""
        cycle = self._cycle
        return None if cycle.more_body or cycle.disconnected else bytes(cycle.body)

    async def answer(self, status: int, head: bytes, body: bytes) -> None:
        """Answers.

        Args:
            head: our headers as they stand on the wire, the length of the body among them.
        """
        cycle = self._cycle
        del cycle.scope["extensions"]  # which held this: else only the collector would free them
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        parts = [STATUS_LINE[status]]
        for name, value in cycle.default_headers:
            parts += (name, b": ", value, b"\r\n")
        parts += (head, b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        if cycle.scope["method"] != "HEAD":
            parts.append(body)
        cycle.transport.write(b"".join(parts))
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()


def exchange_of(scope: Any) -> Exchange | None:
    """The exchange of a request, if the server has one."""
    exchange: Exchange | None = (scope.get("extensions") or {}).get(EXTENSION)
    return exchange
