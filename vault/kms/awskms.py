"""`awskms://[ENDPOINT]/REGION/NAME`: AWS Key Management Service, through boto3 (extra `aws`).

A root key is a KMS key of its own with the alias `NAME-000001` and so on, and a tag that says whose it is. A
key that was made before its alias could be is found by its tag. What a half is bound to is the encryption
context. Wrapped: `"CKAWSKM1" | SHA-256 of key id and blob, cut to 16 | blob`: so that damage, and the blob of
another key, is told from a permission that is missing without asking; who may open it is decided by KMS.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from vault.clock import SECOND
from vault.errors import IntegrityError, Misconfigured, Unavailable
from vault.extras import load
from vault.kms.addresses import Address, read_address
from vault.kms.credentials import only
from vault.kms.provider import Destruction, ProviderSettings, away, bound, refused, register
from vault.secret import Secret

FORM: Final = "awskms:///REGION/NAME or awskms://ENDPOINT/REGION/NAME"
SETTINGS: Final = ("profile", "credentials", "ca", "client_certificate", "client_key")
TAG: Final = "coatcheck:root"
SHORTEST_DAYS, LONGEST_DAYS = 7, 30  # of ScheduleKeyDeletion
_MAGIC: Final = b"CKAWSKM1"
_SUM_BYTES: Final = 16
_CONTEXT: Final = "coatcheck"
_PENDING: Final = ("PendingDeletion", "PendingReplicaDeletion")
_CAUSES: Final = {
    "ThrottlingException": "throttled",
    "LimitExceededException": "throttled",
    "RequestLimitExceeded": "throttled",
    "KMSInternalException": "failed",
    "DependencyTimeoutException": "failed",
    "KeyUnavailableException": "failed",
    "ServiceUnavailable": "failed",
    "InternalFailure": "failed",
    "DisabledException": "disabled",
    "KMSInvalidStateException": "disabled",
    "NotFoundException": "missing",
    "AccessDeniedException": "denied",
    "AccessDenied": "denied",
    "UnrecognizedClientException": "denied",
    "InvalidClientTokenId": "denied",
    "InvalidSignatureException": "denied",
    "IncompleteSignature": "denied",
    "ExpiredTokenException": "denied",
    "OptInRequired": "denied",
}


class AwsKmsProvider:
    """Root keys in AWS KMS."""

    remote = True

    def __init__(self, address: Address, days: int, settings: ProviderSettings) -> None:
        self._address = address
        self._place, self._name = address.path
        self._days = days
        self._settings = settings
        self.destroy_means = (
            "the root key's KMS key is scheduled for deletion and refuses at once; it is deleted for good "
            f"{days} days later, until when its administrators can cancel that"
        )
        self._made: dict[int, str] = {}  # by this process; aliases are a while in coming into force
        self._client: Any = self._connect()  # takes long the first time, so not within a call's deadline

    def create_root(self, version: int) -> None:
        """Makes the root key's version, if it does not exist."""
        known = self._known(version)
        if known is not None and known["KeyState"] not in _PENDING:
            self._checked(version, known)
            return
        key = self._orphan(version)
        if key is None:
            key = self._ask("create_key", **self._wanted(version))["KeyMetadata"]["KeyId"]
        operation, alias = "update_alias" if known else "create_alias", self._alias(version)
        try:
            self._ask(operation, AliasName=alias, TargetKeyId=key)
            self._made[version] = key
        except _AlreadyThere:  # another process was first; ours is one too many, and seals nothing
            self._ask("schedule_key_deletion", KeyId=key, PendingWindowInDays=self._days)
        self.probe(version)

    def wrap(self, version: int, half: Secret, context: bytes) -> bytes:
        """The half, wrapped under a root version."""
        key = self._usable(version)
        answer = self._ask(
            "encrypt", KeyId=key, Plaintext=half.expose(), EncryptionContext=self._bound(version, context)
        )
        blob = bytes(answer["CiphertextBlob"])
        return _MAGIC + _sum(key, blob) + blob

    def unwrap(self, version: int, wrapped: bytes, context: bytes) -> Secret:
        """The half again."""
        key = self._usable(version)
        head = len(_MAGIC) + _SUM_BYTES
        blob = wrapped[head:]
        if wrapped[:head] != _MAGIC + _sum(key, blob):
            raise IntegrityError("ciphertext_invalid")
        answer = self._ask(
            "decrypt", KeyId=key, CiphertextBlob=blob, EncryptionContext=self._bound(version, context)
        )
        return Secret(answer["Plaintext"])

    def destroy_root(self, version: int) -> Destruction:
        """Schedules the deletion of a root version's key; if that was done already, says for when."""
        known = self._known(version)
        if known is None:
            return Destruction(version, f"{self._place} {self._alias(version)}")
        key = known["KeyId"]
        if known["KeyState"] in _PENDING:
            return self._receipt(version, key, known.get("DeletionDate"))
        if dict(self._tags(key)).get(TAG) != self._tag(version):
            raise refused("names an alias of a key that is not tagged as this root, so it is not deleted")
        answer = self._ask("schedule_key_deletion", KeyId=key, PendingWindowInDays=self._days)
        return self._receipt(version, key, answer.get("DeletionDate"))

    def probe(self, version: int) -> None:
        """Returns if a root version could be used now."""
        self._usable(version)

    def close(self) -> None:
        """Closes connections."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _receipt(self, version: int, key: str, date: Any) -> Destruction:
        if date is None:
            raise away("malformed", version)
        return Destruction(version, f"{self._place} {key}", int(date.timestamp() * SECOND))

    def _alias(self, version: int) -> str:
        return f"alias/{self._name}-{version:06d}"

    def _tag(self, version: int) -> str:
        return f"{self._settings.region}/{self._name}/{version}"

    def _bound(self, version: int, context: bytes) -> dict[str, str]:
        """The encryption context. It stands in CloudTrail, and says region and epoch, nothing of a person."""
        return {_CONTEXT: b64encode(bound(self._settings.region, version, context)).decode()}

    def _wanted(self, version: int) -> dict[str, Any]:
        return {
            "Description": f"Coatcheck, cell {self._settings.region}, root {version}",
            "KeySpec": "SYMMETRIC_DEFAULT",
            "KeyUsage": "ENCRYPT_DECRYPT",
            "Origin": "AWS_KMS",
            "MultiRegion": False,
            "Tags": [{"TagKey": TAG, "TagValue": self._tag(version)}],
        }

    def _known(self, version: int) -> dict[str, Any] | None:
        """What KMS says of the key behind a root version's alias; None without such an alias."""
        key = self._made.get(version) or self._alias(version)
        try:
            return _Answer(self._ask("describe_key", KeyId=key)["KeyMetadata"])
        except Unavailable as problem:
            if problem.facts.get("cause") == "missing":
                return None
            raise

    def _usable(self, version: int) -> str:
        """The id of a root version's key.

        Raises:
            Unavailable: `key_unavailable`: there is none, or its state is not `Enabled`.
            Misconfigured: `config_invalid`: it is not a key that we would have made.
        """
        known = self._known(version)
        if known is None:
            raise away("missing", version)
        self._checked(version, known)
        return str(known["KeyId"])

    def _checked(self, version: int, known: dict[str, Any]) -> None:
        if known["KeyState"] in _PENDING:
            raise away("pending_deletion", version)
        if known["KeyState"] != "Enabled":
            raise away("disabled", version)
        if known.get("MultiRegion"):
            raise refused("names a multi-region key, which other regions could open halves with")
        usage, spec = known.get("KeyUsage"), known.get("KeySpec") or known.get("CustomerMasterKeySpec")
        if (usage, spec, known.get("Origin")) != ("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", "AWS_KMS"):
            raise refused("names a key that is not a symmetric one of AWS's own making")

    def _orphan(self, version: int) -> str | None:
        """A root version's key that was made and has no alias: whoever made it was killed in between."""
        named = {entry.get("TargetKeyId") for entry in self._pages("list_aliases", "Aliases")}
        for entry in self._pages("list_keys", "Keys"):
            key = entry["KeyId"]
            if key in named:
                continue
            try:
                if dict(self._tags(key)).get(TAG) != self._tag(version):
                    continue
                known = self._ask("describe_key", KeyId=key)["KeyMetadata"]
            except Unavailable as problem:
                if problem.facts.get("cause") in ("denied", "missing"):
                    continue  # another team's
                raise
            if known["KeyState"] == "Enabled":
                return str(key)
        return None

    def _tags(self, key: str) -> Iterator[tuple[str, str]]:
        for entry in self._pages("list_resource_tags", "Tags", KeyId=key):
            yield entry["TagKey"], entry["TagValue"]

    def _pages(self, operation: str, member: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        more = True
        while more:
            answer = self._ask(operation, **arguments)
            yield from answer[member]
            more = bool(answer.get("Truncated")) and "NextMarker" in answer
            arguments["Marker"] = answer.get("NextMarker")

    def _ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        if self._client is None:
            self._client = self._connect()
        call: Callable[..., dict[str, Any]] = getattr(self._client, operation)
        try:
            return _Answer(call(**arguments))
        except Exception as problem:  # noqa: BLE001 - botocore's, and what it runs into with answers that are none
            raise _cause(problem) from None

    def _connect(self) -> Any:
        boto3, config = load("boto3", "aws"), load("botocore.config", "aws")
        core, exceptions = load("botocore.session", "aws"), load("botocore.exceptions", "aws")
        credentials, seconds = self._settings.credentials, self._settings.deadline_s
        session = core.Session(profile=credentials.name("profile") or None)
        if (path := credentials.path("credentials")) is not None:
            session.set_config_variable("credentials_file", path)
        certificate, key = credentials.path("client_certificate"), credentials.path("client_key")
        if (certificate is None) != (key is None):
            raise refused("client_certificate and client_key go together", "kms_auth")
        try:
            return boto3.Session(botocore_session=session).client(
                "kms",
                region_name=self._place,
                endpoint_url=self._address.url() if self._address.host else None,
                verify=credentials.path("ca"),
                config=config.Config(
                    connect_timeout=seconds,
                    read_timeout=seconds,
                    retries={"total_max_attempts": 1},  # the guard's are enough
                    ignore_configured_endpoint_urls=True,  # the address stands in our settings alone
                    client_cert=(certificate, key) if certificate else None,
                ),
            )
        except exceptions.ProfileNotFound:
            raise refused("names a profile that is not there", "kms_auth.profile") from None
        except exceptions.BotoCoreError:
            raise refused("boto3 makes no client of it") from None


class _Answer(dict[str, Any]):
    """An answer of KMS; what it ought to have and has not makes it malformed."""

    def __missing__(self, name: str) -> Any:
        raise away("malformed")


class _AlreadyThere(Unavailable):
    """An alias of this name exists."""


def _sum(key: str, blob: bytes) -> bytes:
    return hashlib.sha256(_MAGIC + key.encode() + b"\0" + blob).digest()[:_SUM_BYTES]


def _cause(problem: Exception) -> Unavailable | IntegrityError | Misconfigured:
    exceptions = load("botocore.exceptions", "aws")
    if isinstance(problem, exceptions.ClientError):
        answer = dict(getattr(problem, "response", {}))
        code = str(answer.get("Error", {}).get("Code", ""))
        if code in ("InvalidCiphertextException", "IncorrectKeyException"):
            return IntegrityError("ciphertext_invalid")
        if code == "AlreadyExistsException":
            return _AlreadyThere("key_unavailable", cause="failed")
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code not in _CAUSES:
            return away({429: "throttled", 403: "denied", 401: "denied"}.get(status, "failed"))
        return away(_CAUSES[code])
    if isinstance(problem, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return away("denied")
    if isinstance(problem, exceptions.SSLError):
        return away("tls")
    if isinstance(problem, exceptions.ConnectTimeoutError | exceptions.ReadTimeoutError):
        return away("deadline")
    if isinstance(problem, exceptions.HTTPClientError | exceptions.ConnectionError):
        return away("unreachable")
    return away("malformed")


def _read(rest: str, given: Collection[str]) -> tuple[Address, int]:
    """The address, and the days until a deletion is final, if they go with these credentials."""
    address = read_address(rest, ("deletion_days", "tls"), FORM)
    days = address.query.get("deletion_days", str(SHORTEST_DAYS))
    if len(address.path) != 2:
        raise refused(f"is not {FORM}")
    if not days.isdecimal() or len(days) > 2 or not SHORTEST_DAYS <= int(days) <= LONGEST_DAYS:
        raise refused(f"takes deletion_days from {SHORTEST_DAYS} to {LONGEST_DAYS}")
    only(given, SETTINGS, "awskms")
    return address, int(days)


def _check(rest: str, given: Collection[str]) -> None:
    _read(rest, given)


def _open(rest: str, settings: ProviderSettings) -> AwsKmsProvider:
    address, days = _read(rest, settings.credentials.given)
    return AwsKmsProvider(address, days, settings)


register("awskms", _open, _check)
