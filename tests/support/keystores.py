"""Key stores under test, each as a context: local files, a token of SoftHSM2, moto, and the fakes."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fakes.awskms import FakeKms
from tests.fakes.transit import JWT, ROLE, ROLE_ID, ROOT, SECRET_ID, FakeTransit
from vault.config import Config, build
from vault.kms import local
from vault.kms.credentials import Credentials
from vault.kms.provider import Provider, ProviderSettings
from vault.kms.registry import open_provider
from vault.secret import Secret

PIN = b"4711-8162"
MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
)
AWS = "[default]\naws_access_key_id = coatcheck\naws_secret_access_key = coatcheck\n"


@dataclass
class KeyStore:
    """A key store under test.

    Attributes:
        uri: as `kms` of a cell.
        auth: as its `kms_auth`.
        control: what stands behind it, to be told what to do.
    """

    uri: str
    folder: Path
    credentials: Credentials = field(default_factory=Credentials)
    passphrase: bytes | None = None
    key_file: Path | None = None
    auth: Mapping[str, str] = field(default_factory=dict)
    control: Any = None
    opened: list[Provider] = field(default_factory=list)

    def settings(self, region: str = "eu") -> ProviderSettings:
        passphrase = None if self.passphrase is None else Secret(self.passphrase)
        return ProviderSettings(region, self.folder, passphrase, self.key_file, self.credentials)

    def open(self, region: str = "eu", uri: str | None = None) -> Provider:
        """The provider as a process that has just started has it."""
        provider = open_provider(uri or self.uri, self.settings(region))
        self.opened.append(provider)
        return provider

    def close(self) -> None:
        for provider in self.opened:
            provider.close()


def secret_file(folder: Path, name: str, content: bytes) -> Path:
    """A file with a secret, mode 0600."""
    path = folder / name
    path.write_bytes(content + b"\n")
    path.chmod(0o600)
    return path


def local_with_passphrase(folder: Path, passphrase: bytes = b"passphrase") -> KeyStore:
    return KeyStore("local:keys/eu", folder, passphrase=passphrase)


def local_with_key_file(folder: Path) -> KeyStore:
    key_file = folder / "elsewhere" / "key"
    local.make_key_file(key_file)
    return KeyStore("local:keys/eu", folder, key_file=key_file)


def with_auth(store: KeyStore, secrets: Mapping[str, bytes], **names: str) -> KeyStore:
    """The store with credentials: secrets in files, and names."""
    paths = {name: secret_file(store.folder, name, content) for name, content in secrets.items()}
    auth = {f"{name}_file": str(path) for name, path in paths.items()} | names
    return replace(store, credentials=Credentials(names, {}, dict(paths)), auth=auth)


@contextmanager
def fake_transit(folder: Path, auth: str = "token") -> Iterator[KeyStore]:
    server = FakeTransit()
    uri = f"transit://127.0.0.1:{server.port}/transit/coatcheck-eu?auth={auth}&tls=off"
    store = KeyStore(uri, folder, control=server)
    try:
        if auth == "token":
            yield with_auth(store, {"token": ROOT.encode()})
        elif auth == "approle":
            yield with_auth(store, {"secret_id": SECRET_ID.encode()}, role_id=ROLE_ID)
        else:
            yield with_auth(store, {"jwt": JWT.encode()}, role=ROLE)
    finally:
        server.close()


@contextmanager
def real_transit(folder: Path) -> Iterator[KeyStore]:
    """A real HashiCorp Vault or OpenBao, where the two variables say one, with `transit` mounted."""
    address, token = os.environ.get("VAULT_ADDR"), os.environ.get("VAULT_TOKEN")
    if not address or not token:
        pytest.skip("no real transit engine here: VAULT_ADDR and VAULT_TOKEN are not set")
    parts = urlsplit(address)
    query = "auth=token" + ("&tls=off" if parts.scheme == "http" else "")
    name = f"coatcheck-test-{os.urandom(6).hex()}"
    made = KeyStore(f"transit://{parts.hostname}:{parts.port or 8200}/transit/{name}?{query}", folder)
    made = with_auth(made, {"token": token.encode()})
    try:
        yield made
    finally:
        for version in (1, 2):
            made.open().destroy_root(version)


def softhsm_module() -> str:
    """The library of SoftHSM2; skips without it."""
    for path in MODULES:
        if os.path.exists(path) and shutil.which("softhsm2-util"):
            return path
    pytest.skip("SoftHSM2 is not installed (Debian: softhsm2)")


@cache
def _tokens() -> Path:
    """The folder of this process's tokens; the library reads where it is once."""
    folder = Path(tempfile.mkdtemp(prefix="softhsm-"))
    (folder / "tokens").mkdir()
    conf = folder / "softhsm2.conf"
    conf.write_text(
        f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    os.environ["SOFTHSM2_CONF"] = str(conf)
    return folder


def new_token(label: str, pin: bytes = PIN) -> None:
    """Makes a token."""
    _tokens()
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin.decode()]
    subprocess.run([*command, "--so-pin", "12345678"], check=True, capture_output=True)


@cache
def _shared_token() -> str:
    new_token("coatcheck")
    return "coatcheck"


@contextmanager
def softhsm(folder: Path, label: str | None = None) -> Iterator[KeyStore]:
    """A token, shared by this process's tests unless one of its own is named; objects of its own."""
    module = softhsm_module()
    name = f"eu-{os.urandom(6).hex()}"
    secret_file(folder, "pin", PIN)
    rest = f"?module-path={module}&pin-source=file:{folder}/pin"
    yield KeyStore(f"pkcs11:token={label or _shared_token()};object={name}{rest}", folder)


def with_aws(store: KeyStore) -> KeyStore:
    """The store with made-up credentials of AWS in a file."""
    path = secret_file(store.folder, "credentials", AWS.encode())
    return replace(
        store, credentials=Credentials({}, {"credentials": path}), auth={"credentials_file": str(path)}
    )


@contextmanager
def fake_kms(folder: Path) -> Iterator[KeyStore]:
    server = FakeKms()
    try:
        uri = f"awskms://127.0.0.1:{server.port}/eu-central-1/coatcheck-eu?tls=off"
        yield with_aws(KeyStore(uri, folder, control=server))
    finally:
        server.close()


@cache
def _moto() -> int:
    """The port of one moto for all tests of this process, which ends with it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(process.wait)
    atexit.register(process.terminate)
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=5):
                return port
        except OSError:
            if time.monotonic() > until or process.poll() is not None:
                raise
            time.sleep(0.1)


@contextmanager
def moto(folder: Path) -> Iterator[KeyStore]:
    uri = f"awskms://127.0.0.1:{_moto()}/eu-central-1/coatcheck-{os.urandom(6).hex()}?tls=off"
    yield with_aws(KeyStore(uri, folder))


Made = Callable[[Path], AbstractContextManager[KeyStore]]
PROVIDERS: dict[str, Made] = {
    "local, passphrase": lambda folder: nullcontext(local_with_passphrase(folder)),
    "local, key file": lambda folder: nullcontext(local_with_key_file(folder)),
    "transit, a fake": fake_transit,
    "transit, a fake, AppRole": lambda folder: fake_transit(folder, "approle"),
    "transit, a fake, Kubernetes": lambda folder: fake_transit(folder, "kubernetes"),
    "transit, a real server": real_transit,
    "AWS KMS, a fake of its states": fake_kms,
    "AWS KMS, moto": moto,
    "PKCS#11, SoftHSM2": softhsm,
}


def config_of(store: KeyStore, folder: Path, **limits: int) -> Config:
    """A deployment of one cell, `eu`, in a folder, with its root keys in that store."""
    cell: dict[str, Any] = {
        "database": "sqlite:///eu.db",
        "kms": store.uri,
        "half_stores": ["halves"],
        "kms_limits": limits,
    }
    if store.auth:
        cell["kms_auth"] = dict(store.auth)
    return build({"mode": "development", "cell": {"eu": cell}}, {}, folder)


def toml_of(store: KeyStore, **limits: int) -> str:
    """The same as a coatcheck.toml, with a listener for administrators on any port."""
    lines = ['mode = "development"', "", "[cell.eu]", 'database = "sqlite:///eu.db"', f'kms = "{store.uri}"']
    lines += ['half_stores = ["halves"]', 'schema = "schema.toml"', "", "[cell.eu.kms_auth]"]
    lines += [f'{name} = "{value}"' for name, value in store.auth.items()]
    lines += ["", "[cell.eu.kms_limits]", *(f"{name} = {value}" for name, value in limits.items())]
    return "\n".join(lines) + "\n"
