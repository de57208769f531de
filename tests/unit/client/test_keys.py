"""An agent's own keys: files for their owner alone, and nothing that shows them."""

from __future__ import annotations

import copy
import pickle
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from vault.client.keys import Holder, Worker
from vault.crypto import hpke
from vault.crypto.signing import verify
from vault.errors import CoatcheckError

SEED = bytes([1]) * 32
# RFC 8410, 10.3: the key of its example.
RFC_PEM = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
"""
RFC_PUBLIC = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"


def refused(code: str, path: Path, kind: type[Holder] | type[Worker] = Holder) -> CoatcheckError:
    with pytest.raises(CoatcheckError) as found:
        kind.load(path)
    assert found.value.code == code
    return found.value


def written(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_the_thumbprint_is_the_specifications() -> None:
    holder = Holder.from_bytes(SEED)
    assert holder.thumbprint == "UDDReOZl1ipXAfp9wYsm13sDBMK5og--QWdBjzuf6o4"  # docs/spec/grant-proof.md
    assert holder.jwk == {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w",
    }
    worker = Worker.from_bytes(bytes([7]) * 32)
    assert worker.jwk["x"] == "E75P6uryBMf9M1j8nAByGIHRdCeBKCJ-xnTzf3_pe20"  # docs/spec/sealed-delivery.md
    assert worker.thumbprint == "l_jrHIWxAD4WTzNZp34IxdWLIGPjrESYyzUJtgEMeH0"


def test_a_file_of_the_rfc_is_read(tmp_path: Path) -> None:
    assert Holder.load(written(tmp_path / "a.pem", RFC_PEM)).public.hex() == RFC_PUBLIC


def test_a_key_comes_back_from_its_file(tmp_path: Path) -> None:
    for kind, name in ((Holder, "holder.pem"), (Worker, "worker.pem")):
        key = kind.new()
        key.save(tmp_path / name)
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        assert kind.load(tmp_path / name).thumbprint == key.thumbprint
        with pytest.raises(CoatcheckError) as found:
            kind.new().save(tmp_path / name)  # never over another
        assert found.value.code == "host_permissions"
        assert kind.load(str(tmp_path / name)).public == key.public


def test_the_key_of_a_file_signs_and_opens(tmp_path: Path) -> None:
    holder, worker = Holder.new(), Worker.new()
    holder.save(tmp_path / "holder.pem")
    worker.save(tmp_path / "worker.pem")
    verify(holder.public, b"text", Holder.load(tmp_path / "holder.pem").signer.sign(b"text"))
    sealed = hpke.seal(worker.public, b"info", b"text")
    assert hpke.open_sealed(Worker.load(tmp_path / "worker.pem").private, b"info", sealed) == b"text"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    assert refused("host_permissions", written(tmp_path / "a.pem", RFC_PEM, mode)).facts["needs"] == "0600"


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    refused("host_permissions", tmp_path / "missing.pem")
    refused("host_permissions", tmp_path)
    secret = Ed25519PrivateKey.generate()
    locked = secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    curve = ec.generate_private_key(ec.SECP256R1())
    other = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for number, content in enumerate((b"", SEED, RFC_PEM[:-40], locked, other, b"\0" * 10_000)):
        refused("config_invalid", written(tmp_path / f"{number}.pem", content))
    refused("config_invalid", written(tmp_path / "holder.pem", RFC_PEM), Worker)
    for wrong in (b"", SEED[:31], SEED + b"\0"):
        with pytest.raises(CoatcheckError) as found:
            Holder.from_bytes(wrong)
        assert found.value.code == "parameter_invalid"


@pytest.mark.parametrize("key", [Holder.from_bytes(SEED), Worker.from_bytes(SEED)])
def test_a_key_does_not_show_itself(key: Holder | Worker) -> None:
    assert repr(key) == str(key) == f"{key}" == f"<{type(key).__name__}>"
    for use in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            use(key)
