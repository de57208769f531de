"""Certificates of clients: shown to our listener, or passed on by a proxy; tokens that are bound to them."""

from __future__ import annotations

import http.client
import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.certificates import Authority, authority
from tests.support.oauth import FORM, Face, ed25519, public
from tests.support.service import HOST, PATIENCE_S, Answer, initialise, running
from vault.crypto.base64url import digest

SETTINGS = """
[tls]
certificate = 'tls.crt'
key = 'tls.key'
client_ca = 'clients/ca.crt'

[oauth]
client_ca = 'clients/ca.crt'
"""


def der(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority of clients, with certificates of two of them, and one that is over."""
    signer = authority(tmp_path_factory.mktemp("clients") / "clients", "Clients")
    for name in ("ada", "bob"):
        signer.issue(name, dns=f"{name}.example", uri=f"spiffe://example.org/{name}")
    signer.issue("old", dns="ada.example", days=(-3, -1))
    return signer


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory, clients: Authority) -> Iterator[Face]:
    folder = tmp_path_factory.mktemp("mtls") / "deployment"
    initialise(folder)
    own = authority(folder / "ca")
    own.issue("tls")
    for suffix in (".key", ".crt"):
        (own.folder / "tls").with_suffix(suffix).rename(folder / f"tls{suffix}")
    (folder / "clients").mkdir()
    (folder / "clients" / "ca.crt").write_bytes(clients.path.read_bytes())
    with (folder / "coatcheck.toml").open("a", encoding="utf-8") as file:
        file.write(SETTINGS)
    with running(folder, ca=own.path) as service:
        yield Face(service)
        assert "Traceback" not in service.log()


class Client:
    """A client with a certificate of its own, or without one."""

    def __init__(self, face: Face, clients: Authority | None = None, name: str = "") -> None:
        self.face = face
        self.context = ssl.create_default_context(cafile=face.service.ca)
        if clients is not None:
            self.context.load_cert_chain(clients.folder / f"{name}.crt", clients.folder / f"{name}.key")

    def request(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Answer:
        port = self.face.service.port
        with closing(
            http.client.HTTPSConnection(HOST, port, timeout=PATIENCE_S, context=self.context)
        ) as client:
            client.request(method, f"/v1/eu/{path}", body, headers)
            response = client.getresponse()
            shown = [(name.lower(), value) for name, value in response.getheaders()]
            return Answer(response.status, shown, response.read())

    def ask(self, **fields: str) -> Answer:
        form = urlencode({"grant_type": "client_credentials", **fields})
        return self.request("POST", "oauth/token", form, {"content-type": FORM})

    def whoami(self, token: str, **headers: str) -> Answer:
        return self.request("GET", "whoami", None, {"authorization": f"Bearer {token}", **headers})


def test_a_token_is_good_with_its_certificate_alone(face: Face, clients: Authority) -> None:
    ada, bob, nobody = Client(face, clients, "ada"), Client(face, clients, "bob"), Client(face)
    name, secret = face.client
    token = ada.ask(client_id=name, client_secret=secret).json()["access_token"]
    assert ada.whoami(token).status == 200
    for other in (bob, nobody):
        refused = other.whoami(token)
        assert (refused.status, refused.code) == (401, "credential_invalid")
        assert 'error="invalid_token"' in str(refused.header("www-authenticate"))
    value = f":{b64encode(der(clients.folder / 'ada.crt')).decode()}:"
    assert nobody.whoami(token, **{"client-cert": value}).status == 401  # nobody's proxy
    told = bob.request(
        "POST",
        "oauth/introspect",
        urlencode({"client_id": name, "client_secret": secret, "token": token}),
        {"content-type": FORM},
    )
    assert told.json()["cnf"] == {"x5t#S256": digest(der(clients.folder / "ada.crt"))}


def test_a_certificate_says_who_asks(face: Face, clients: Authority) -> None:
    ada, bob, nobody = Client(face, clients, "ada"), Client(face, clients, "bob"), Client(face)
    by_itself = face.register({"certificate": (clients.folder / "ada.crt").read_text()})
    by_thumbprint = face.register({"thumbprint": digest(der(clients.folder / "ada.crt"))})
    by_name = face.register({"certificate_name": "dns:Ada.example"})
    by_uri = face.register({"certificate_name": "uri:spiffe://example.org/ada"})
    for name in (by_itself, by_thumbprint, by_name, by_uri):
        answer = ada.ask(client_id=name)
        assert answer.status == 200, answer.body
        assert ada.whoami(answer.json()["access_token"]).json()["key"] == name
        for other in (bob, nobody):
            refused = other.ask(client_id=name)
            assert (refused.status, refused.json()["error"]) == (401, "invalid_client")
    by_key = face.register({"jwk": public(ed25519())})
    assert ada.ask(client_id=by_key).status == 401
    assert ada.ask(client_id=face.client[0]).status == 401


def test_a_certificate_that_is_over_or_of_nobody_ends_the_handshake(face: Face, clients: Authority) -> None:
    stranger = authority(clients.folder / "other", "Clients")
    stranger.issue("ada", dns="ada.example")
    for client in (Client(face, clients, "old"), Client(face, stranger, "ada")):
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
            client.ask(client_id="x")


# behind a proxy


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory, clients: Authority) -> Iterator[Face]:
    """A service behind a proxy, which this process plays."""
    folder = tmp_path_factory.mktemp("proxied") / "deployment"
    initialise(folder)
    (folder / "ca.crt").write_bytes(clients.path.read_bytes())
    text = (folder / "coatcheck.toml").read_text(encoding="utf-8")
    text += "\n[oauth]\nclient_ca = 'ca.crt'\n"
    (folder / "coatcheck.toml").write_text(text, encoding="utf-8")
    settings = {
        "COATCHECK_LISTEN__TRUSTED_PROXIES": '["127.0.0.1/32"]',
        "COATCHECK_LISTEN__CLIENT_CERT_HEADER": "true",
    }
    with running(folder, settings) as service:
        yield Face(service)
        assert "Traceback" not in service.log()


def header(clients: Authority, name: str) -> dict[str, str]:
    return {"client-cert": f":{b64encode(der(clients.folder / f'{name}.crt')).decode()}:"}


def test_a_trusted_proxy_passes_certificates_on(behind: Face, clients: Authority) -> None:
    name, secret = behind.client
    by = {"client_id": name, "client_secret": secret}
    token = behind.ask(by, header(clients, "ada")).json()["access_token"]
    assert behind.whoami(f"Bearer {token}", **header(clients, "ada")).status == 200
    assert behind.whoami(f"Bearer {token}", **header(clients, "bob")).status == 401
    assert behind.whoami(f"Bearer {token}").status == 401
    client = behind.register({"certificate_name": "dns:ada.example"})
    assert behind.ask({"client_id": client}, header(clients, "ada")).status == 200
    assert behind.ask({"client_id": client}, header(clients, "bob")).status == 401
    assert behind.ask({"client_id": client}, header(clients, "old")).status == 401
    stranger = authority(clients.folder / "stranger", "Clients")
    stranger.issue("ada", dns="ada.example")
    assert behind.ask({"client_id": client}, header(stranger, "ada")).status == 401


def test_what_is_no_certificate_is_none(behind: Face, clients: Authority) -> None:
    name, secret = behind.client
    token = behind.ask({"client_id": name, "client_secret": secret}, header(clients, "ada")).json()
    value = header(clients, "ada")["client-cert"]
    for wrong in ("", ":", "::", value[1:], value + value, ":AAAA", ":A:", "?1", value.replace("A", "!", 1)):
        answer = behind.whoami(f"Bearer {token['access_token']}", **{"client-cert": wrong})
        assert (answer.status, answer.code) == (401, "credential_invalid"), wrong
    client = behind.register({"certificate_name": "dns:ada.example"})
    for wrong in (":AAAA:", f":{b64encode(b'x' * 9_000).decode()}:"):
        answer = behind.ask({"client_id": client}, {"client-cert": wrong})
        assert (answer.status, answer.json()["error"]) == (401, "invalid_client")
    raw = (
        f"GET /v1/eu/whoami HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token['access_token']}\r\n"
        f"client-cert: {value}\r\nclient-cert: {value}\r\n\r\n"
    )
    twice = behind.service.raw(raw.encode())
    assert twice is not None
    assert twice.status == 401


def test_the_header_of_anybody_else_is_not_looked_at(tmp_path: Path, clients: Authority) -> None:
    """The same request, to a service that trusts no proxy, and to one that trusts another address."""
    for number, settings in enumerate(
        (
            {},
            {
                "COATCHECK_LISTEN__TRUSTED_PROXIES": '["192.0.2.1/32"]',
                "COATCHECK_LISTEN__CLIENT_CERT_HEADER": "true",
            },
            {"COATCHECK_LISTEN__TRUSTED_PROXIES": '["127.0.0.1/32"]'},
        )
    ):
        with running(tmp_path / f"deployment{number}", settings) as service:
            face = Face(service)
            client = face.register({"thumbprint": digest(der(clients.folder / "ada.crt"))})
            answer = face.ask({"client_id": client}, header(clients, "ada"))
            assert (answer.status, answer.json()["error"]) == (401, "invalid_client")
