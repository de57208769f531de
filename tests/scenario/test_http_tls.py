"""TLS of the service's own: 1.3 and nothing else, keys that are kept to oneself, certificates that change."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority, authority
from tests.support.service import (
    HOST,
    PATIENCE_S,
    Service,
    coatcheck_here,
    initialise,
    read_answer,
    running,
)
from vault.codes import CODES

TLS = "[tls]\ncertificate = 'tls.crt'\nkey = 'tls.key'\n"


def with_tls(folder: Path) -> Authority:
    """A development deployment that speaks TLS; its authority is in `ca`."""
    initialise(folder)
    signer = authority(folder / "ca")
    renew(signer)
    settings = folder / "coatcheck.toml"
    settings.write_text(settings.read_text(encoding="utf-8") + TLS, encoding="utf-8")
    return signer


def renew(signer: Authority) -> int:
    """A new certificate in the place of the one before; its serial number."""
    serial = signer.issue("next")
    for suffix in (".key", ".crt"):
        (signer.folder / "next").with_suffix(suffix).rename(signer.folder.parent / f"tls{suffix}")
    return serial


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("tls") / "deployment"
    signer = with_tls(folder)
    with running(folder, {"COATCHECK_LIMITS__HEAD_S": "2"}, ca=signer.path) as service:
        yield service
        assert "Traceback" not in service.log()


def client(ca: Path, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """A client that speaks one version, however old."""
    context = ssl.create_default_context(cafile=ca)
    if version is not None:
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = version
        context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def wrapped(service: Service, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(service.connect(), server_hostname=HOST)


def serial(service: Service) -> int:
    """The serial number of the certificate that it shows now."""
    assert service.ca is not None
    with wrapped(service, client(service.ca)) as connection:
        found = connection.getpeercert()
        assert found is not None
        return int(str(found["serialNumber"]), 16)


def test_values_go_in_and_out(service: Service) -> None:
    made = service.call("POST", "tokenize", {"field": "customer.name", "values": ["Ada"] * 2_000})
    assert made.status == 200
    assert len(made.json()["tokens"]) == 2_000
    assert service.get("/readyz").status == 200
    assert "https://" in service.log()


def test_it_speaks_1_3(service: Service) -> None:
    assert service.ca is not None
    with wrapped(service, client(service.ca)) as connection:
        assert connection.version() == "TLSv1.3"
        for _ in range(3):
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(connection).status == 200


OLD = [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", OLD, ids=lambda version: version.name)
def test_nothing_older_is_spoken(service: Service, version: ssl.TLSVersion) -> None:
    assert service.ca is not None
    with service.connect() as connection, pytest.raises((ssl.SSLError, ConnectionError)):
        client(service.ca, version).wrap_socket(connection, server_hostname=HOST)
    with wrapped(service, client(service.ca, ssl.TLSVersion.TLSv1_3)) as connection:
        assert connection.version() == "TLSv1.3"  # it was the version


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", OLD[2:], ids=lambda version: version.name)
def test_the_control_speaks_it(service: Service, version: ssl.TLSVersion) -> None:
    """The same client and certificate, and a server that leaves the versions to OpenSSL."""
    assert service.ca is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(service.folder / "tls.crt", service.folder / "tls.key")
    with socket.create_server((HOST, 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as accepted, context.wrap_socket(accepted, server_side=True) as secure:
                secure.sendall(b"x")

        thread = threading.Thread(target=serve)
        thread.start()
        with (
            socket.create_connection(listener.getsockname(), PATIENCE_S) as plain,
            client(service.ca, version).wrap_socket(plain, server_hostname=HOST) as connection,
        ):
            assert connection.recv(1) == b"x"
            assert connection.version() == "TLSv1.2"
        thread.join(PATIENCE_S)


def test_plain_http_gets_no_answer(service: Service) -> None:
    with service.connect() as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = connection.recv(4096)
    assert not answer.startswith(b"HTTP")


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_handshake_that_never_ends_is_given_up(service: Service, sent: bytes) -> None:
    with service.connect() as connection:
        connection.sendall(sent)
        began = time.monotonic()
        assert connection.recv(4096) == b""
        assert time.monotonic() - began < PATIENCE_S / 2
    assert service.get("/livez").status == 200


def test_hostile_handshakes_are_no_line_of_the_log(service: Service) -> None:
    before = service.log()
    for sent in (b"\x00" * 1000, b"\x16\x03\x01" + b"\xff" * 1000, b"nonsense\r\n\r\n", b"\x80\x2e\x01"):
        with service.connect() as connection:
            connection.sendall(sent)
            connection.settimeout(PATIENCE_S)
            try:
                while connection.recv(4096):
                    pass
            except ConnectionError:
                pass
    assert service.get("/livez").status == 200
    assert service.log() == before


def test_whoever_trusts_another_authority_does_not_connect(service: Service, tmp_path: Path) -> None:
    other = authority(tmp_path / "other")
    with service.connect() as connection, pytest.raises(ssl.SSLCertVerificationError):
        client(other.path).wrap_socket(connection, server_hostname=HOST)


class TestCommandLine:
    def remote(self, service: Service) -> dict[str, str]:
        return {
            "COATCHECK_URL": service.url,
            "COATCHECK_REGION": "eu",
            "COATCHECK_KEY": service.credential(),
        }

    def test_with_the_authority(self, service: Service) -> None:
        assert service.ca is not None
        done = coatcheck_here(
            "tokenize", "customer.name", "--ca", service.ca, given="Ada\n", more=self.remote(service)
        )
        assert done.returncode == 0, done.stderr
        more = self.remote(service) | {"COATCHECK_CA": str(service.ca)}
        done = coatcheck_here("tokenize", "customer.name", given="Ada\n", more=more)
        assert done.returncode == 0, done.stderr

    def test_without_it(self, service: Service) -> None:
        done = coatcheck_here("tokenize", "customer.name", given="Ada\n", more=self.remote(service))
        assert done.returncode == CODES["service_unreachable"].exit
        assert "certificate is not one that is trusted here" in done.stderr

    def test_with_a_file_that_is_none(self, service: Service, tmp_path: Path) -> None:
        (tmp_path / "none").write_text("nothing", encoding="utf-8")
        for path, code in ((tmp_path / "none", "config_invalid"), (tmp_path / "gone", "host_permissions")):
            done = coatcheck_here(
                "tokenize", "customer.name", "--ca", path, given="Ada\n", more=self.remote(service)
            )
            assert done.returncode == 11
            assert code in done.stderr


class TestStarting:
    """What serve refuses, before it asks for a passphrase or takes a lock."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        with_tls(tmp_path / "deployment")
        return tmp_path / "deployment"

    def refused(self, folder: Path, code: str, *facts: str) -> None:
        done = coatcheck_here("serve", "--config", folder, more={"COATCHECK_PORT": "0"})
        assert done.returncode == 11, done.stderr
        assert f"coatcheck: {code}: " in done.stderr
        for fact in facts:
            assert fact in done.stderr

    @pytest.mark.parametrize("mode", [0o644, 0o660, 0o604, 0o601, 0o700, 0o777])
    def test_a_key_that_others_may_read(self, folder: Path, mode: int) -> None:
        (folder / "tls.key").chmod(mode)
        self.refused(folder, "host_permissions", "tls.key", "needs: 0600 or 0640")

    @pytest.mark.parametrize("mode", [0o640, 0o400])
    def test_a_key_that_they_may_not(self, folder: Path, mode: int) -> None:
        (folder / "tls.key").chmod(mode)
        service = Service(folder, ca=folder / "ca" / "ca.crt")
        try:
            service.start()
            assert service.stop() == 0
        finally:
            service.kill()

    def test_the_key_of_another_certificate(self, folder: Path) -> None:
        authority(folder / "ca2").issue("other")
        shutil.copy(folder / "ca2" / "other.key", folder / "tls.key")
        self.refused(folder, "config_invalid", "setting: tls.key", "is not the key of the certificate")

    def test_a_key_under_a_passphrase(self, folder: Path) -> None:
        authority(folder / "ca2").issue("other", passphrase=b"secret")
        for suffix in (".key", ".crt"):
            shutil.copy(folder / "ca2" / f"other{suffix}", folder / f"tls{suffix}")
        self.refused(folder, "config_invalid", "setting: tls.key", "is no PEM key without a passphrase")

    def test_a_certificate_that_names_nobody(self, folder: Path) -> None:
        authority(folder / "ca2").issue("other", named=False)
        shutil.copy(folder / "ca2" / "other.crt", folder / "tls.crt")
        self.refused(folder, "config_invalid", "setting: tls.certificate", "subjectAltName")

    @pytest.mark.parametrize("name", ["tls.crt", "tls.key"])
    @pytest.mark.parametrize(
        "content", [b"", b"nonsense", b"\xff" * 100, b"-----BEGIN CERTIFICATE-----\nAAAA"]
    )
    def test_a_file_that_is_none(self, folder: Path, name: str, content: bytes) -> None:
        (folder / name).write_bytes(content)
        self.refused(folder, "config_invalid", "setting: tls.")

    @pytest.mark.parametrize("name", ["tls.crt", "tls.key"])
    def test_a_file_that_is_not_there(self, folder: Path, name: str) -> None:
        (folder / name).unlink()
        self.refused(folder, "host_permissions", name)


class TestReloading:
    @pytest.fixture
    def service(self, tmp_path: Path) -> Iterator[Service]:
        signer = with_tls(tmp_path / "deployment")
        with running(tmp_path / "deployment", {"COATCHECK_LOG__LEVEL": "info"}, ca=signer.path) as service:
            yield service

    def told(self, service: Service, line: str) -> None:
        """Sends SIGHUP and waits until the log says so."""
        assert service.process is not None
        count = service.log().count(line)
        service.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + PATIENCE_S
        while service.log().count(line) == count:
            assert time.monotonic() < end
            time.sleep(0.02)

    def test_a_new_certificate(self, service: Service) -> None:
        assert service.ca is not None
        signer = authority(service.folder / "second")
        before = serial(service)
        with wrapped(service, client(service.ca)) as old:
            old.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(old).status == 200
            signer.issue("tls")
            for suffix in (".key", ".crt"):
                (signer.folder / f"tls{suffix}").rename(service.folder / f"tls{suffix}")
            self.told(service, "the certificate was read anew")
            old.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(old).status == 200  # who is connected stays connected
        service.ca = signer.path
        assert serial(service) != before
        assert service.get("/livez").status == 200

    @pytest.mark.parametrize("wrong", ["key", "mode", "gone", "nonsense"])
    def test_one_that_cannot_be_used_changes_nothing(self, service: Service, wrong: str) -> None:
        before = serial(service)
        key = service.folder / "tls.key"
        if wrong == "key":
            other = authority(service.folder / "second")
            other.issue("tls")
            (other.folder / "tls.crt").rename(service.folder / "tls.crt")  # half of what was to be copied
        elif wrong == "mode":
            key.chmod(0o644)
        elif wrong == "gone":
            key.unlink()
        else:
            key.write_bytes(b"nonsense")
        self.told(service, "the certificate is not usable, the one before stays")
        assert serial(service) == before
        assert service.get("/livez").status == 200
        assert service.stop() == 0


def test_without_tls_the_signal_does_nothing(tmp_path: Path) -> None:
    with running(tmp_path / "deployment") as service:
        assert service.process is not None
        service.process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        assert service.get("/livez").status == 200
        with (
            service.connect() as connection,
            pytest.raises(OSError),
        ):
            ssl.create_default_context().wrap_socket(connection, server_hostname=HOST)


def test_the_client_sends_no_credential_to_whom_it_does_not_trust(tmp_path: Path) -> None:
    """A server with another authority's certificate sees a handshake that ends, and no byte of a request."""
    authority(tmp_path / "ca").issue("tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca" / "tls.crt", tmp_path / "ca" / "tls.key")
    other = authority(tmp_path / "other")
    seen: list[bytes] = []
    with socket.create_server((HOST, 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as accepted:
                try:
                    with context.wrap_socket(accepted, server_side=True) as secure:
                        seen.append(secure.recv(4096))
                except (ssl.SSLError, OSError):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"https://{HOST}:{listener.getsockname()[1]}"
        more = {"COATCHECK_URL": url, "COATCHECK_REGION": "eu", "COATCHECK_KEY": "ck_x_y"}
        done = coatcheck_here("tokenize", "f", "--json", "--ca", other.path, given="Ada\n", more=more)
        thread.join(PATIENCE_S)
    assert json.loads(done.stderr)["code"] == "service_unreachable"
    assert b"".join(seen) == b""
