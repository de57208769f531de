"""Cells of other processes, as transfers reach them: over HTTPS, sealed, with a service key of theirs."""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

import httpx
import msgspec

from vault.codes import CODES
from vault.crypto import crossing, hpke
from vault.crypto.base64url import decode, encode
from vault.errors import FAMILIES, CoatcheckError, Conflict, IntegrityError, Misconfigured, Unavailable
from vault.services.crossing import Batch, BatchAnswer, BatchBody, Outcome, Reply

TIMEOUT_S: Final = 10.0  # of one read, write or connection
DEADLINE_S: Final = 40.0  # of a batch with all its tries: within the lease of its job
TRIES: Final = 3
FIRST_PAUSE_S: Final = 0.5  # it doubles; any part of it is waited, so that many do not come at once
LONGEST_PAUSE_S: Final = 4.0
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
_LATER: Final = frozenset({408, 421, 425, 429})  # of 4xx: not about what was sent


class Peer:
    """The cell of a region that another process has.

    Args:
        url: where its service is reached.
        region: its region; source: this one's.
        credential: reads the service key, as it is now.
        pinned: the public key that batches are sealed to; None: it is asked for, over TLS.
        tls: how its service proves who it is; None: it is reached in the clear, in development.
    """

    def __init__(
        self,
        url: str,
        region: str,
        source: str,
        credential: Callable[[], str],
        pinned: bytes | None = None,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._base = f"{url.rstrip('/')}/v1/{region}/"
        self._region = region
        self._source = source
        self._credential = credential
        self._pinned = pinned
        self._tls = tls

    def __repr__(self) -> str:
        return "<Peer>"

    def send(self, transfer: str, number: int, **batch: Any) -> list[Outcome]:
        """What the other cell says of a batch, after it is durable there.

        Args:
            number: of the batch; 0 for what enters nothing.
            batch: the members of `Batch`.

        Raises:
            Unavailable: `region_unavailable`: it is out of reach, busy, or answers what is no answer.
            Unauthenticated, Denied, BadInput, ...: it refused, by its code.
            IntegrityError: `ciphertext_invalid`: the answer is not by whoever can open the batch.
            Misconfigured: the key, or the file of authorities, cannot be read.
        """
        deadline = time.monotonic() + DEADLINE_S
        tls = True if self._tls is None else self._tls()
        headers = {"authorization": f"Bearer {self._credential()}", "content-type": "application/json"}
        with httpx.Client(headers=headers, timeout=TIMEOUT_S, trust_env=False, verify=tls) as http:
            public = self._pinned or self._ask_key(http, deadline)
            private, reply = hpke.keypair()
            sealed = msgspec.json.encode(Batch(reply=encode(reply), **batch))
            where = (self._source, self._region, transfer, number)
            enc_ct = encode(hpke.seal(public, crossing.info(*where), sealed))
            body = BatchBody(self._source, transfer, number, enc_ct)
            answer = self._post(http, "arrivals", msgspec.json.encode(body), deadline)
        try:
            given = msgspec.json.decode(answer, type=BatchAnswer)
            plain = hpke.open_sealed(private, crossing.answer_info(*where), decode(given.enc_ct))
            return msgspec.json.decode(plain, type=Reply).values
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise IntegrityError("ciphertext_invalid") from None

    def _ask_key(self, http: httpx.Client, deadline: float) -> bytes:
        try:
            told = msgspec.json.decode(self._post(http, "intake-key", b"", deadline), type=dict[str, str])
            public = decode(told["x"])
            hpke.check_public(public)
        except (msgspec.DecodeError, ValueError, KeyError, RecursionError):
            raise Unavailable("region_unavailable") from None
        return public

    def _post(self, http: httpx.Client, path: str, body: bytes, deadline: float) -> bytes:
        for tries in range(TRIES):
            try:
                return _once(http, self._base + path, body, deadline)
            except Unavailable:
                longest = min(FIRST_PAUSE_S * 2**tries, LONGEST_PAUSE_S)
                pause = secrets.randbelow(1_000) / 1_000 * longest
                if tries + 1 == TRIES or time.monotonic() + pause >= deadline:
                    raise
                time.sleep(pause)
        raise Unavailable("region_unavailable")


def _once(http: httpx.Client, url: str, body: bytes, deadline: float) -> bytes:
    if time.monotonic() >= deadline:
        raise Unavailable("region_unavailable")
    read = bytearray()
    try:
        with http.stream("POST", url, content=body) as response:
            for part in response.iter_bytes():
                read += part
                if len(read) > MAX_ANSWER_BYTES or time.monotonic() >= deadline:
                    raise Unavailable("region_unavailable")
    except (httpx.HTTPError, httpx.InvalidURL):
        raise Unavailable("region_unavailable") from None
    if response.status_code == 200:
        return bytes(read)
    raise _refusal(response.status_code, bytes(read))


def _refusal(status: int, body: bytes) -> CoatcheckError:
    """What a refusal means for a job: of 4xx it ends, of the rest it waits. Nothing is taken but the code."""
    if not 400 <= status < 500 or status in _LATER:
        return Unavailable("region_unavailable")
    try:
        code = msgspec.json.decode(body, type=dict[str, Any]).get("code")
    except (msgspec.DecodeError, RecursionError):
        code = None
    if not isinstance(code, str) or code not in CODES or not 400 <= CODES[code].status < 500:
        code = "region_refused"
    found = FAMILIES[CODES[code].exit](code)
    # A conflict here says that a job is somebody else's; one of theirs says nothing of the kind.
    return Unavailable("region_unavailable") if isinstance(found, Conflict) else found


def tls_of(ca: str | None, setting: str) -> ssl.SSLContext:
    """How another region's service proves who it is: TLS 1.3, its certificate, its name.

    Raises:
        Misconfigured: `host_permissions`, `config_invalid`: the file of authorities.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError:
        raise Misconfigured("config_invalid", setting=setting, reason="is no PEM file") from None
    except OSError:
        raise Misconfigured("host_permissions", setting=setting) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
