"""A fake of AWS KMS as far as key states go, which moto is too lax to show. It is not that service.

It was written from KMS's documentation: what each call answers in each state of a key, aliases that go with
their key, deletion after a waiting period, encryption contexts, pages, tags, and throttling.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.fakes.serving import Answer, Serving

DAY_S = 86_400
PAGE = 2  # entries of a page, so that pages are turned


class Refused(Exception):
    """An error of the service."""

    def __init__(self, code: str, status: int = 400) -> None:
        self.code, self.status = code, status
        super().__init__(code)


@dataclass
class Key:
    """A KMS key."""

    id: str
    tags: dict[str, str]
    multi_region: bool = False
    origin: str = "AWS_KMS"
    state: str = "Enabled"
    deletion: float | None = None
    material: bytes = field(default_factory=lambda: os.urandom(32))

    def metadata(self) -> dict[str, Any]:
        shown = {
            "KeyId": self.id, "KeyState": self.state, "KeySpec": "SYMMETRIC_DEFAULT", "Origin": self.origin,
            "KeyUsage": "ENCRYPT_DECRYPT", "MultiRegion": self.multi_region, "KeyManager": "CUSTOMER",
        }  # fmt: skip
        return shown if self.deletion is None else {**shown, "DeletionDate": self.deletion}


class FakeKms:
    """The fake, serving.

    Attributes:
        calls: the operations asked for so far.
        error: the code of the error that everything gets; None: behaves.
        die_after: kills the answer (500) of the first call of this operation, after its effect.
    """

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}
        self.aliases: dict[str, str] = {}
        self.calls: list[str] = []
        self.error: tuple[str, int] | None = None
        self.die_after: str | None = None
        self._lock = threading.Lock()
        self._serving = Serving(self._handle)
        self.port = self._serving.port

    def close(self) -> None:
        self._serving.close()

    def of(self, alias: str) -> Key:
        """The key behind an alias."""
        return self.keys[self.aliases[f"alias/{alias}"]]

    def _handle(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        operation = headers.get("x-amz-target", "").removeprefix("TrentService.")
        with self._lock:
            self.calls.append(operation)
            try:
                if "coatcheck" not in headers.get("authorization", ""):
                    raise Refused("UnrecognizedClientException")
                if self.error is not None:
                    raise Refused(*self.error)
                name = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
                answer = getattr(self, f"_{name}")(json.loads(body))
                if self.die_after == operation:
                    self.die_after = None
                    raise Refused("InternalFailure", 500)
            except Refused as problem:
                return problem.status, json.dumps({"__type": problem.code, "message": "refused"}).encode()
            return 200, json.dumps(answer or {}).encode()

    def _found(self, name: str, *states: str) -> Key:
        """A key by id or alias, if it is in one of these states; any, without."""
        for key in list(self.keys.values()):
            if key.deletion is not None and key.deletion < time.time():
                del self.keys[key.id]  # and its aliases with it
                self.aliases = {alias: id_ for alias, id_ in self.aliases.items() if id_ != key.id}
        found = self.keys.get(self.aliases.get(name, name))
        if found is None:
            raise Refused("NotFoundException")
        if states and found.state not in states:
            raise Refused("DisabledException" if found.state == "Disabled" else "KMSInvalidStateException")
        return found

    def _create_key(self, body: dict[str, Any]) -> dict[str, Any]:
        id_ = "-".join(os.urandom(size).hex() for size in (4, 2, 2, 2, 6))
        tags = {tag["TagKey"]: tag["TagValue"] for tag in body.get("Tags", [])}
        self.keys[id_] = Key(id_, tags, body.get("MultiRegion", False))
        return {"KeyMetadata": self.keys[id_].metadata()}

    def _describe_key(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"KeyMetadata": self._found(body["KeyId"]).metadata()}

    def _create_alias(self, body: dict[str, Any]) -> None:
        if body["AliasName"] in self.aliases:
            raise Refused("AlreadyExistsException")
        self._update_alias(body)

    def _update_alias(self, body: dict[str, Any]) -> None:
        self.aliases[body["AliasName"]] = self._found(body["TargetKeyId"], "Enabled", "Disabled").id

    def _encrypt(self, body: dict[str, Any]) -> dict[str, Any]:
        key = self._found(body["KeyId"], "Enabled")
        iv = os.urandom(12)
        context = json.dumps(body.get("EncryptionContext", {}), sort_keys=True).encode()
        sealed = AESGCM(key.material).encrypt(iv, b64decode(body["Plaintext"]), context)
        return {"CiphertextBlob": b64encode(iv + sealed).decode(), "KeyId": key.id}

    def _decrypt(self, body: dict[str, Any]) -> dict[str, Any]:
        key = self._found(body["KeyId"], "Enabled")
        blob = b64decode(body["CiphertextBlob"])
        context = json.dumps(body.get("EncryptionContext", {}), sort_keys=True).encode()
        try:
            plain = AESGCM(key.material).decrypt(blob[:12], blob[12:], context)
        except (InvalidTag, ValueError):
            raise Refused("InvalidCiphertextException") from None
        return {"Plaintext": b64encode(plain).decode(), "KeyId": key.id}

    def _schedule_key_deletion(self, body: dict[str, Any]) -> dict[str, Any]:
        key = self._found(body["KeyId"], "Enabled", "Disabled")
        key.state, key.deletion = "PendingDeletion", time.time() + body["PendingWindowInDays"] * DAY_S
        return {"KeyId": key.id, "DeletionDate": key.deletion, "KeyState": key.state}

    def _list_keys(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._page("Keys", [{"KeyId": key} for key in self.keys], body)

    def _list_aliases(self, body: dict[str, Any]) -> dict[str, Any]:
        found = [{"AliasName": name, "TargetKeyId": key} for name, key in self.aliases.items()]
        return self._page("Aliases", [{"AliasName": "alias/aws/ebs"}, *found], body)

    def _list_resource_tags(self, body: dict[str, Any]) -> dict[str, Any]:
        tags = self._found(body["KeyId"]).tags
        return self._page("Tags", [{"TagKey": name, "TagValue": value} for name, value in tags.items()], body)

    @staticmethod
    def _page(member: str, entries: list[dict[str, str]], body: dict[str, Any]) -> dict[str, Any]:
        first = int(body.get("Marker", 0))
        more = first + PAGE < len(entries)
        page = {member: entries[first : first + PAGE], "Truncated": more}
        return {**page, "NextMarker": str(first + PAGE)} if more else page
