"""The OAuth face at a running service: driven by a stock client, and by what nobody should send it."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from joserfc import jwk, jwt

from tests.support.oauth import (
    ACCESS_TOKEN,
    ALL,
    EXCHANGE,
    JWT,
    Face,
    Prover,
    ed25519,
    es256,
    public,
    signed,
    split,
    unsigned,
    with_mac,
)
from tests.support.service import coatcheck, initialise, running
from vault.client.access import AccessTokens, ClientKey, ClientSecret
from vault.client.http import Client
from vault.clock import SECOND, FixedClock
from vault.crypto.base64url import decode, encode
from vault.crypto.jose import ALGORITHMS, public_jwk
from vault.crypto.signing import Signer, keypair
from vault.errors import Unauthenticated

DETAILS = {
    "type": "coatcheck_grant",
    "agent": "agent:demo",
    "purpose": "support",
    "limits": {"uses": 2},
    "scope": [{"fields": ["customer.name"], "operations": ["reveal"], "delivery": ["plain"]}],
}
OIDC = "https://login.example"
SPIFFE = "spiffe://example.org"
WORKLOAD = f"{SPIFFE}/agent/demo"


@pytest.fixture(scope="module")
def issuer() -> jwk.ECKey:
    return jwk.ECKey.generate_key("P-256", {"kid": "one"})


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory, issuer: jwk.ECKey) -> Iterator[Face]:
    folder = tmp_path_factory.mktemp("oauth") / "deployment"
    initialise(folder)
    keys = {"keys": [{**issuer.as_dict(private=False), "use": "sig"}]}
    (folder / "issuer.json").write_text(json.dumps(keys), encoding="utf-8")
    with (folder / "coatcheck.toml").open("a", encoding="utf-8") as file:
        file.write(
            f"""
[identities.issuers.login]
issuer = "{OIDC}"
audience = "coatcheck"
jwks_file = "issuer.json"
users = true

[identities.issuers.mesh]
issuer = "{SPIFFE}"
audience = "coatcheck"
jwks_file = "issuer.json"
agents = {{ "{WORKLOAD}" = "agent:demo" }}
"""
        )
    with running(folder) as service:
        yield Face(service)
        assert "Traceback" not in service.log()
        assert "internal" not in service.log()


def session(face: Face, name: str, secret: Any, method: str, **more: Any) -> OAuth2Session:
    return OAuth2Session(
        name, secret, token_endpoint_auth_method=method, token_endpoint=face.url("oauth/token"), **more
    )


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_stock_client_gets_a_token_and_uses_it(face: Face, method: str) -> None:
    client = session(face, *face.client, method)
    found = client.fetch_token(face.url("oauth/token"), grant_type="client_credentials")
    assert found["token_type"] == "Bearer"
    assert found["expires_in"] == 300
    made = client.post(face.url("tokenize"), json={"field": "customer.name", "values": ["Ada"]})
    assert made.status_code == 200
    told = client.introspect_token(face.url("oauth/introspect"), token=found["access_token"]).json()
    assert told["active"] is True
    assert told["client_id"] == face.client[0]
    client.revoke_token(face.url("oauth/revoke"), token=found["access_token"])
    refused = client.post(face.url("tokenize"), json={"field": "customer.name", "values": ["Ada"]})
    assert refused.status_code == 401
    told = client.introspect_token(face.url("oauth/introspect"), token=found["access_token"]).json()
    assert told == {"active": False}


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        (es256(), "ES256"),
        (ed25519(), "EdDSA"),
        (ed25519(), "Ed25519"),
        (jwk.RSAKey.generate_key(2048), "RS256"),
        (jwk.RSAKey.generate_key(2048), "PS256"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
def test_a_stock_client_signs_that_it_is_itself(face: Face, key: Any, alg: str) -> None:
    name = face.register({"jwk": public(key)})
    client = session(face, name, key, "private_key_jwt")
    client.register_client_auth_method(PrivateKeyJWT(face.url("oauth/token"), alg=alg))
    found = client.fetch_token(face.url("oauth/token"), grant_type="client_credentials")
    assert client.get(face.url("whoami")).json()["key"] == name
    assert found["expires_in"] == 300


def test_a_stock_library_reads_the_metadata_and_checks_a_token_by_the_published_keys(face: Face) -> None:
    found = face.service.get("/.well-known/oauth-authorization-server/v1/eu").json()
    metadata = AuthorizationServerMetadata(found)
    metadata["issuer"] = metadata["issuer"].replace("http:", "https:")  # as it is outside of development
    metadata.validate_issuer()
    metadata.validate_grant_types_supported()
    assert found["issuer"] == face.issuer
    assert found["token_endpoint"] == face.url("oauth/token")
    token = face.token(scope="tokenize:customer.name")
    path = found["jwks_uri"].removeprefix(f"http://127.0.0.1:{face.service.port}")
    keys = jwk.KeySet.import_key_set(face.service.get(path).json())
    read = jwt.decode(token, keys, algorithms=["Ed25519"])
    assert read.header["typ"] == "at+jwt"
    assert read.claims["aud"] == face.issuer
    assert read.claims["scope"] == "tokenize:customer.name"
    assert face.service.get("/.well-known/jwks.json/v1/eu").json() == face.service.get(path).json()
    resource = face.service.get("/.well-known/oauth-protected-resource/v1/eu").json()
    assert resource["resource"] == face.issuer
    assert resource["authorization_servers"] == [face.issuer]


def test_a_401_says_where_credentials_are_to_be_had(face: Face) -> None:
    missing = face.service.get("/v1/eu/whoami")
    where = (
        f'resource_metadata="http://127.0.0.1:{face.service.port}/.well-known/oauth-protected-resource/v1/eu"'
    )
    assert missing.header("www-authenticate") == f'Bearer realm="coatcheck", {where}'
    wrong = face.whoami("Bearer eyJ.a.b")
    assert wrong.header("www-authenticate") == f'Bearer realm="coatcheck", error="invalid_token", {where}'


def test_a_scope_leaves_less_and_never_more(face: Face) -> None:
    token = face.token(scope="tokenize:customer.name")
    assert face.whoami(f"Bearer {token}").json()["permissions"] == ["tokenize:customer.name"]
    body = {"field": "customer.note", "values": ["x"]}
    refused = face.service.call("POST", "tokenize", body, key=token)
    assert (refused.status, refused.code) == (403, "permission_denied")
    for scope in ("principal:write", "tokenize:customer.name audit:read", "tokenize:*", "x" * 5000, "  "):
        answer = face.ask(None, scope=scope)
        assert (answer.status, answer.json()["error"]) == (400, "invalid_scope")


def test_a_token_is_for_this_resource(face: Face) -> None:
    assert face.ask(None, resource=face.issuer).status == 200
    for name in ("resource", "audience"):
        answer = face.ask(None, None, **{name: "https://elsewhere.example"})
        assert (answer.status, answer.json()["error"]) == (400, "invalid_target")


@pytest.mark.parametrize("prover", [Prover(), Prover(es256(), "ES256")], ids=["Ed25519", "ES256"])
def test_a_bound_token_needs_a_proof_each_time(face: Face, prover: Prover) -> None:
    token = face.bound(prover)
    url = face.url("whoami")
    proof = prover.proof("GET", url, token)
    assert face.whoami(f"DPoP {token}", dpop=proof).status == 200
    again = face.whoami(f"DPoP {token}", dpop=proof)
    assert (again.status, again.code) == (401, "proof_invalid")
    assert 'error="invalid_dpop_proof"' in str(again.header("www-authenticate"))
    assert face.whoami(f"Bearer {token}").status == 401
    assert face.whoami(f"DPoP {token}").status == 401
    plain = face.token()
    assert face.whoami(f"DPoP {plain}", dpop=prover.proof("GET", url, plain)).status == 401


def test_a_proof_of_a_verb_that_writes_is_taken_once(face: Face) -> None:
    prover = Prover()
    token = face.bound(prover)
    proof = prover.proof("POST", face.url("tokenize"), token)
    body = json.dumps({"field": "customer.name", "values": ["Ada"]}).encode()
    head = {"authorization": f"DPoP {token}", "dpop": proof, "content-type": "application/json"}
    assert face.service.request("POST", "/v1/eu/tokenize", body, head).status == 200
    assert face.service.request("POST", "/v1/eu/tokenize", body, head).status == 401


def test_wrong_proofs(face: Face) -> None:
    prover, other = Prover(), Prover()
    token = face.bound(prover)
    url = face.url("whoami")
    good = prover.proof("GET", url, token)
    head, claims, signature = good.split(".")
    now = int(time.time())
    private = {**public(prover.key), "d": prover.key.as_dict(private=True)["d"]}
    wrong = {
        "another key's": other.proof("GET", url, token),
        "method": prover.proof("POST", url, token),
        "url": prover.proof("GET", url + "x", token),
        "no ath": prover.proof("GET", url),
        "ath": prover.proof("GET", url, token, ath="x" * 43),
        "no jti": prover.proof("GET", url, token, jti=None),
        "short jti": prover.proof("GET", url, token, jti="1"),
        "long jti": prover.proof("GET", url, token, jti="1" * 300),
        "jti of another type": prover.proof("GET", url, token, jti=12345678),
        "old": prover.proof("GET", url, token, iat=now - 300),
        "early": prover.proof("GET", url, token, iat=now + 300),
        "iat of another type": prover.proof("GET", url, token, iat="now"),
        "no iat": prover.proof("GET", url, token, iat=None),
        "typ": prover.proof("GET", url, token, header={"typ": "JWT"}),
        "crit": prover.proof("GET", url, token, header={"crit": ["exp"], "exp": 1}),
        "private": prover.proof("GET", url, token, header={"jwk": private}),
        "no key": prover.proof("GET", url, token, header={"jwk": "x"}),
        "kid for a key": prover.proof("GET", url, token, header={"jwk": None, "kid": "x"}),
        "signature": f"{head}.{claims}.{signature[:-4]}AAAA",
        "claims": f"{head}.{encode(decode(claims).replace(b'GET', b'PUT'))}.{signature}",
        "none": unsigned({"typ": "dpop+jwt", "alg": "none", "jwk": public(prover.key)}, {"htm": "GET"}),
        "a MAC": signed(
            jwk.OctKey.import_key(b"k" * 32),
            {"typ": "dpop+jwt", "alg": "HS256", "jwk": {"kty": "oct", "k": encode(b"k" * 32)}},
            {"htm": "GET", "htu": url, "iat": now, "jti": "a" * 20},
        ),
        "not base64": "a.b.c",
        "empty": "..",
        "long": "a" * 9000,
    }
    for name, proof in wrong.items():
        answer = face.whoami(f"DPoP {token}", dpop=proof)
        assert answer.status == 401, name
        assert answer.code in ("proof_invalid", "proof_expired"), name
    assert face.whoami(f"DPoP {token}", dpop=good).status == 200
    asked = face.ask(headers={"dpop": other.proof("GET", face.url("oauth/token"))})
    assert (asked.status, asked.json()["error"]) == (400, "invalid_dpop_proof")


def forgeries(face: Face, token: str) -> dict[str, str]:
    """Tokens that are nearly right."""
    head, body, signature = token.split(".")
    header, claims = (json.loads(decode(part)) for part in (head, body))
    [key] = face.service.get("/v1/eu/oauth/jwks").json()["keys"][:1]
    raw = decode(key["x"])
    mine = ed25519()
    more = encode(json.dumps({**claims, "scope": "audit:read"}).encode())
    mac = jwk.OctKey.import_key(raw)
    return {
        "none": unsigned({**header, "alg": "none"}, claims),
        "none with the signature": unsigned({**header, "alg": "None"}, claims, decode(signature)),
        "HS256 by the public key": signed(mac, {**header, "alg": "HS256"}, claims),
        "EdDSA for Ed25519": f"{encode(json.dumps({**header, 'alg': 'EdDSA'}).encode())}.{body}.{signature}",
        "another key": signed(mine, header, claims),
        "another key in the header": signed(mine, {**header, "jwk": public(mine)}, claims),
        "another key's name": signed(mine, {**header, "kid": mine.thumbprint()}, claims),
        "a path for a name": signed(mine, {**header, "kid": "../../dev/null"}, claims),
        "a question for a name": signed(mine, {**header, "kid": "' OR 1=1 --" + "x" * 32}, claims),
        "a number for a name": signed(mine, {**header, "kid": 7}, claims),
        "no name": signed(mine, {"typ": "at+jwt", "alg": "Ed25519"}, claims),
        "an address of keys": signed(mine, {**header, "jku": "http://127.0.0.1:1/"}, claims),
        "crit": signed(mine, {**header, "crit": ["b64"], "b64": True}, claims),
        "another typ": signed(mine, {**header, "typ": "JWT"}, claims),
        "other claims": f"{head}.{more}.{signature}",
        "no signature": f"{head}.{body}.",
        "a bit of the signature": f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
        "a space": f"{head}.{body}.{signature} ",
        "padding": f"{head}.{body}.{signature}=",
        "two tokens": f"{token}.{token}",
        "not JSON": f"{encode(b'{')}.{body}.{signature}",
        "deep": f"{encode(b'[' * 2000)}.{body}.{signature}",
        "long": "ey" + "a" * 20_000,
        "empty": "ey",
        "NUL": "ey\x00",
    }


def test_forged_tokens(face: Face) -> None:
    token = face.token()
    name, secret = face.client
    for what, forged in forgeries(face, token).items():
        if "\x00" not in forged and len(forged) < 9_000:
            answer = face.whoami(f"Bearer {forged}")
            assert (answer.status, answer.code) == (401, "credential_invalid"), what
        asked = {"client_id": name, "client_secret": secret, "token": forged}
        if len(forged) < 9_000:
            told = face.form("oauth/introspect", asked)
            assert (told.status, told.json()) == (200, {"active": False}), what
            assert face.form("oauth/revoke", asked).status == 200, what
    assert face.whoami(f"Bearer {token}").status == 200


def test_a_token_of_another_region_is_none(face: Face) -> None:
    there = Face(face.service, "us")
    assert there.whoami(f"Bearer {there.token()}").status == 200
    for one, other in ((face, there), (there, face)):
        answer = other.whoami(f"Bearer {one.token()}")
        assert (answer.status, answer.code) == (401, "credential_invalid")


def new_key(face: Face, **more: Any) -> str:
    """Another service key of the service's principal."""
    principal = face.service.call("GET", "whoami").json()["principal"]
    admin = face.service.credential("admin_key")
    made = face.service.call("POST", f"principals/{principal}/keys", more, key=admin)
    assert made.status == 201
    return str(made.json()["credential"])


def test_a_token_dies_with_its_key(face: Face) -> None:
    name, secret = split(new_key(face))
    by = {"client_id": name, "client_secret": secret}
    token = face.ask(by).json()["access_token"]
    prover = Prover()
    held = face.ask(by, {"dpop": prover.proof("POST", face.url("oauth/token"))}).json()["access_token"]
    assert face.whoami(f"Bearer {token}").status == 200
    admin = face.service.credential("admin_key")
    assert face.service.call("DELETE", f"keys/{name}", key=admin).status == 200
    assert face.whoami(f"Bearer {token}").status == 401
    assert face.whoami(f"DPoP {held}", dpop=prover.proof("GET", face.url("whoami"), held)).status == 401
    body = {"field": "customer.name", "values": ["Ada"]}
    assert face.service.call("POST", "tokenize", body, key=token).status == 401
    assert face.ask(by).json()["error"] == "invalid_client"


def test_a_token_is_bound_to_its_key_s_networks(face: Face) -> None:
    name, secret = split(new_key(face, networks=["192.0.2.0/24"]))
    answer = face.ask({"client_id": name, "client_secret": secret})
    assert (answer.status, answer.json()["error"]) == (400, "unauthorized_client")


def test_a_token_does_not_outlive_its_key(face: Face) -> None:
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 100))
    name, secret = split(new_key(face, expires=ends))
    assert face.ask({"client_id": name, "client_secret": secret}).json()["expires_in"] <= 100


WRONG_CLIENTS: list[Callable[[str, str], dict[str, str]]] = [
    lambda name, secret: {
        "client_id": name,
        "client_secret": secret[:-1] + ("A" if secret[-1] != "A" else "B"),
    },
    lambda name, secret: {"client_id": name},
    lambda name, secret: {"client_id": "ck_" + "0" * 26, "client_secret": secret},
    lambda name, secret: {"client_id": name.lower(), "client_secret": secret},
    lambda name, secret: {"client_id": "", "client_secret": secret},
    lambda name, secret: {
        "client_id": name,
        "client_secret": "\ud800".encode("utf-8", "surrogatepass").hex(),
    },
    lambda name, secret: {"client_id": "x" * 5000, "client_secret": secret},
    lambda name, secret: {},
]


@pytest.mark.parametrize("wrong", WRONG_CLIENTS)
def test_wrong_clients(face: Face, wrong: Callable[[str, str], dict[str, str]]) -> None:
    answer = face.ask(wrong(*face.client))
    assert (answer.status, answer.json()["error"]) == (401, "invalid_client")
    assert answer.header("www-authenticate") == 'Basic realm="coatcheck"'
    for path in ("oauth/introspect", "oauth/revoke"):
        answer = face.form(path, {**wrong(*face.client), "token": "x"})
        assert (answer.status, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("text", [b"x", b":", b"a:b:c", b"\xff\xfe:x", b"%00:%ff"])
def test_wrong_basic_headers(face: Face, text: bytes) -> None:
    for value in (
        f"Basic {b64encode(text).decode()}",
        "Basic ===",
        "Basic",
        "Bearer x",
        "Basic " + "A" * 4000,
    ):
        answer = face.ask({}, {"authorization": value})
        assert (answer.status, answer.json()["error"]) == (401, "invalid_client")


def test_wrong_forms(face: Face) -> None:
    name, secret = face.client
    who = f"client_id={name}&client_secret={secret}"
    wrong = {
        "nothing": (b"", 400, "invalid_request"),
        "twice": (f"{who}&grant_type=client_credentials&grant_type=x".encode(), 400, "invalid_request"),
        "two ways": (
            f"{who}&grant_type=client_credentials&client_assertion=x".encode(),
            400,
            "invalid_request",
        ),
        "bytes": (b"grant_type=%ff%fe", 400, "invalid_request"),
        "not ASCII": (b"grant_type=\xff", 400, "invalid_request"),
        "many": (b"&".join(b"a%d=1" % n for n in range(100)), 400, "invalid_request"),
        "no grant": (who.encode(), 400, "invalid_request"),
        "an empty grant": (f"{who}&grant_type=".encode(), 400, "invalid_request"),
        "another grant": (f"{who}&grant_type=password".encode(), 400, "unsupported_grant_type"),
        "long": (b"a=" + b"x" * 20_000, 413, "invalid_request"),
    }
    head = {"content-type": "application/x-www-form-urlencoded"}
    for what, (raw, status, error) in wrong.items():
        answer = face.service.request("POST", "/v1/eu/oauth/token", raw, head)
        assert (answer.status, answer.json()["error"]) == (status, error), what
    json_ = face.service.request("POST", "/v1/eu/oauth/token", b"{}", {"content-type": "application/json"})
    assert (json_.status, json_.json()["error"]) == (415, "invalid_request")
    assert face.service.get("/v1/eu/oauth/token").status == 405
    unknown = f"{who}&grant_type=client_credentials&unknown=x".encode()  # RFC 6749, 3.2: not looked at
    assert face.service.request("POST", "/v1/eu/oauth/token", unknown, head).status == 200


def test_wrong_assertions(face: Face) -> None:
    key, other = ed25519(), ed25519()
    name = face.register({"jwk": public(key)})
    rsa = jwk.RSAKey.generate_key(2048)
    theirs = face.register({"jwk": public(rsa)})
    now = int(time.time())
    pem = rsa.as_pem(private=False)
    wrong = {
        "another's key": face.assertion(other, name),
        "another client's": face.assertion(key, theirs),
        "over": face.assertion(key, name, exp=now - 1),
        "without an end": face.assertion(key, name, exp=None),
        "for ever": face.assertion(key, name, exp=now + 86_400),
        "an end that is no number": face.assertion(key, name, exp="soon"),
        "not yet": face.assertion(key, name, nbf=now + 600),
        "made later": face.assertion(key, name, iat=now + 600),
        "without a jti": face.assertion(key, name, jti=None),
        "a jti that is no text": face.assertion(key, name, jti=7),
        "for another": face.assertion(key, name, aud="https://elsewhere.example"),
        "for nobody": face.assertion(key, name, aud=None),
        "for another region": face.assertion(key, name, aud=Face(face.service, "us").issuer),
        "by another issuer": face.assertion(key, name, iss="x"),
        "crit": face.assertion(key, name, header={"crit": ["exp"], "exp": 1}),
        "its own key": face.assertion(other, name, header={"jwk": public(other)}),
        "none": unsigned(
            {"alg": "none"}, {"iss": name, "sub": name, "aud": face.issuer, "exp": now + 60, "jti": "x"}
        ),
        "HS256 by the public key": with_mac(
            pem, {"iss": theirs, "sub": theirs, "aud": face.issuer, "exp": now + 60, "jti": "mac"}
        ),
        "a secret's client": face.assertion(key, face.client[0]),
        "no token": "x",
    }
    for what, assertion in wrong.items():
        answer = face.ask_by_key(assertion)
        assert (answer.status, answer.json()["error"]) == (401, "invalid_client"), what
    good = face.assertion(key, name, aud=[face.url("oauth/token"), "https://elsewhere.example"])
    assert face.ask_by_key(good).status == 200
    again = face.ask_by_key(good)
    assert (again.status, again.json()["error"]) == (401, "invalid_client")
    assert face.ask_by_key(face.assertion(key, name), client_id=theirs).status == 401
    typed = face.ask({"client_assertion": face.assertion(key, name), "client_assertion_type": "x"})
    assert (typed.status, typed.json()["error"]) == (400, "invalid_request")


def exchange(face: Face, details: Any = DETAILS, headers: Any = None, **more: str) -> Any:
    name, secret = face.client
    fields = {
        "grant_type": EXCHANGE,
        "client_id": name,
        "client_secret": secret,
        "authorization_details": json.dumps([details]),
        **more,
    }
    return face.form("oauth/token", fields, headers)


def test_a_token_is_exchanged_for_a_grant(face: Face) -> None:
    token = face.token(scope="grant:create:support")
    answer = exchange(face, subject_token=token, subject_token_type=ACCESS_TOKEN)
    assert answer.status == 200, answer.body
    found = answer.json()
    assert found["issued_token_type"] == "urn:coatcheck:token-type:grant"
    assert found["token_type"] == "Bearer"
    [told] = found["authorization_details"]
    assert told["agent"] == "agent:demo"
    assert "credential" not in told
    made = face.service.call("POST", "tokenize", {"field": "customer.name", "values": ["Ada"]}).json()
    body = {"purpose": "support", "items": [{"field": "customer.name", "token": made["tokens"][0]}]}
    opened = face.service.call("POST", "detokenize", body, key=found["access_token"])
    assert opened.json()["items"] == [{"value": "Ada"}]
    name, secret = face.client
    by = {"client_id": name, "client_secret": secret, "token": found["access_token"]}
    about = face.form("oauth/introspect", by).json()
    assert about["active"] is True
    assert about["authorization_details"][0]["uses_left"] == 1
    assert face.form("oauth/revoke", by).status == 200
    assert face.form("oauth/introspect", by).json() == {"active": False}
    refused = face.service.call("POST", "detokenize", body, key=found["access_token"])
    assert refused.status == 401


def jwt_of(issuer: jwk.ECKey, **claims: Any) -> str:
    now = int(time.time())
    said = {"iss": OIDC, "aud": "coatcheck", "sub": "ada", "iat": now, "exp": now + 60, **claims}
    said = {name: value for name, value in said.items() if value is not None}
    return signed(issuer, {"alg": "ES256", "kid": "one"}, said)


def test_a_workload_s_token_names_the_agent_and_a_user_s_on_whose_behalf(
    face: Face, issuer: jwk.ECKey
) -> None:
    prover = Prover()
    workload = jwt_of(issuer, iss=None, sub=WORKLOAD, aud=["coatcheck"])
    proof = {"dpop": prover.proof("POST", face.url("oauth/token"))}
    details = {name: value for name, value in DETAILS.items() if name != "agent"}
    answer = exchange(
        face,
        details,
        proof,
        subject_token=jwt_of(issuer),
        subject_token_type=JWT,
        actor_token=workload,
        actor_token_type=JWT,
    )
    assert answer.status == 200, answer.body
    found = answer.json()
    assert found["token_type"] == "Grant"
    [told] = found["authorization_details"]
    assert told["jkt"] == prover.jkt
    assert told["agent"] == "agent:demo"
    assert found["access_token"] == told["id"]
    events = face.service.call("GET", "audit?kind=grant.create", key=face.service.credential("admin_key"))
    assert '"on_behalf_of":"login:ada"' in events.body.decode().replace(" ", "")
    alone = exchange(face, details, subject_token=workload, subject_token_type=JWT)
    assert alone.status == 200


def test_what_is_not_exchanged(face: Face, issuer: jwk.ECKey) -> None:
    token = face.token()
    now = int(time.time())
    ours = {"subject_token": token, "subject_token_type": ACCESS_TOKEN}
    narrow = face.token(scope="tokenize:customer.name")

    def refused(answer: Any, error: str, code: str = "", status: int = 400) -> None:
        assert (answer.status, answer.json()["error"]) == (status, error), answer.body
        assert not code or answer.json()["code"] == code, answer.body

    refused(exchange(face), "invalid_request", "member_missing")
    refused(exchange(face, subject_token=token), "invalid_request", "member_missing")
    refused(exchange(face, subject_token="x", subject_token_type=ACCESS_TOKEN), "invalid_request")
    refused(
        exchange(face, subject_token=token, subject_token_type="x"), "invalid_request", "assertion_invalid"
    )
    refused(exchange(face, **ours, requested_token_type=ACCESS_TOKEN), "invalid_request")
    refused(exchange(face, **ours, scope="tokenize:customer.name"), "invalid_scope")
    refused(
        exchange(face, subject_token=narrow, subject_token_type=ACCESS_TOKEN),
        "unauthorized_client",
        "permission_denied",
    )
    for wrong in (
        {**DETAILS, "type": "other"},
        {**DETAILS, "unknown": 1},
        {**DETAILS, "scope": 7},
        {**DETAILS, "agent": "agent:absent"},
        {**DETAILS, "limits": {"uses": 1_000}},
        {**DETAILS, "purpose": "absent"},
    ):
        answer = exchange(face, wrong, **ours)
        assert answer.status == 400
        assert answer.json()["error"] in ("invalid_authorization_details", "unauthorized_client"), answer.body
    for text in ("", "x", "[]", "{}", "[" * 5_000, json.dumps([DETAILS, DETAILS])):
        answer = exchange(face, **ours, authorization_details=text)
        assert answer.status == 400
    es = Prover(es256(), "ES256")
    proof = {"dpop": es.proof("POST", face.url("oauth/token"))}
    refused(exchange(face, DETAILS, proof, **ours), "invalid_authorization_details")
    other = jwk.ECKey.generate_key("P-256", {"kid": "one"})
    for wrong_token in (
        jwt_of(other),
        jwt_of(issuer, iss="https://elsewhere.example"),
        jwt_of(issuer, aud="other"),
        jwt_of(issuer, exp=now - 1),
        jwt_of(issuer, exp=None),
        jwt_of(issuer, nbf=now + 600),
        jwt_of(issuer, sub=None),
        jwt_of(issuer, sub=""),
        jwt_of(issuer, iss=None, sub=f"{SPIFFE}/agent/other"),
        signed(issuer, {"alg": "ES256", "kid": "two"}, {"iss": OIDC}),
        unsigned(
            {"alg": "none", "kid": "one"}, {"iss": OIDC, "aud": "coatcheck", "sub": "ada", "exp": now + 60}
        ),
        "x",
        token,
    ):
        answer = exchange(face, subject_token=wrong_token, subject_token_type=JWT)
        refused(answer, "invalid_request", "assertion_invalid")
    twice = jwt_of(issuer, iss=None, sub=WORKLOAD)
    elsewhere = exchange(
        face, {**DETAILS, "agent": "agent:other"}, subject_token=twice, subject_token_type=JWT
    )
    refused(elsewhere, "invalid_request", "assertion_invalid")
    user = exchange(face, **ours, actor_token=jwt_of(issuer), actor_token_type=JWT)
    refused(user, "invalid_request", "assertion_invalid")


def test_another_s_token_is_unknown(face: Face) -> None:
    admin = face.service.credential("admin_key")
    name, secret = split(admin)
    theirs = face.ask({"client_id": name, "client_secret": secret}).json()["access_token"]
    mine = dict(zip(("client_id", "client_secret"), face.client, strict=True))
    assert face.form("oauth/introspect", {**mine, "token": theirs}).json() == {"active": False}
    assert face.form("oauth/revoke", {**mine, "token": theirs}).status == 200
    assert face.whoami(f"Bearer {theirs}").status == 200
    answer = exchange(face, subject_token=theirs, subject_token_type=ACCESS_TOKEN)
    assert answer.json()["code"] == "assertion_invalid"
    assert face.form("oauth/introspect", {**mine, "token": admin}).json() == {"active": False}
    assert face.form("oauth/introspect", mine).json()["error"] == "invalid_request"


def test_a_client_is_registered_from_the_shell(face: Face, tmp_path: Path) -> None:
    key = es256()
    principal = face.service.call("GET", "whoami").json()["principal"]
    settings = {
        "COATCHECK_URL": face.service.url, "COATCHECK_KEY": face.service.credential("admin_key"),
        "COATCHECK_REGION": "eu",
    }  # fmt: skip

    def register(*words: Any, given: bytes = b"") -> Any:
        done = coatcheck("apikey", "register", principal, *words, "--json", more=settings, given=given)
        return done.returncode, json.loads(done.stdout or done.stderr)

    (tmp_path / "client.jwk").write_text(json.dumps(public(key)), encoding="utf-8")
    code, shown = register("--key-in", tmp_path / "client.jwk")
    assert (code, shown["method"]) == (0, "private_key_jwt")
    client = session(face, shown["id"], key, "private_key_jwt")
    client.register_client_auth_method(PrivateKeyJWT(face.url("oauth/token"), alg="ES256"))
    client.fetch_token(face.url("oauth/token"), grant_type="client_credentials")
    assert client.get(face.url("whoami")).json()["key"] == shown["id"]
    private = json.dumps(key.as_dict(private=True)).encode()
    code, refused = register("--key-in", "-", given=private)
    assert (code != 0, refused["code"]) == (True, "limit_invalid")
    assert str(key.as_dict(private=True)["d"]) not in json.dumps(refused)
    assert register()[1]["code"] == "usage"
    assert register("--key-in", tmp_path / "none.jwk")[1]["code"] == "usage"
    assert register("--certificate-in", "-", given=b"no certificate")[1]["code"] == "limit_invalid"


def test_a_client_is_one_public_key(face: Face) -> None:
    admin = face.service.credential("admin_key")
    principal = face.service.call("GET", "whoami").json()["principal"]
    path = f"principals/{principal}/clients"
    key = public(ed25519())

    def made(body: Any) -> Any:
        return face.service.call("POST", path, body, key=admin)

    assert made({"jwk": {**key, "d": key["x"]}}).code == "member_unknown"
    assert made({"jwk": {"kty": "oct"}}).code == "limit_invalid"
    assert made({"jwk": {**key, "x": "AA"}}).code == "limit_invalid"
    assert made({"jwk": {**key, "use": "enc"}}).code == "limit_invalid"
    assert made({"jwk": {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43}}).code == "limit_invalid"
    assert made({"jwk": {"kty": "RSA", "n": encode(b"\xff" * 128), "e": "AQAB"}}).code == "limit_invalid"
    assert made({}).code == "member_missing"
    assert made({"jwk": key, "thumbprint": "A" * 43}).code == "member_missing"
    assert made({"thumbprint": "A" * 42}).code == "limit_invalid"
    assert made({"certificate": "x"}).code == "limit_invalid"
    assert made({"certificate_name": "dns:a.example"}).code == "operation_unsupported"
    assert made({"certificate_name": "x"}).code == "limit_invalid"
    service = face.service.call("POST", path, {"jwk": key})
    assert (service.status, service.code) == (403, "permission_denied")
    shown = made({"jwk": key}).json()
    assert shown["method"] == "private_key_jwt"
    replaced = face.service.call("POST", f"keys/{shown['id']}/replace", {}, key=admin)
    assert (replaced.status, replaced.code) == (422, "operation_unsupported")
    keys = face.service.call("GET", f"principals/{principal}/keys", key=admin).json()["items"]
    assert shown["id"] in {one["id"] for one in keys}


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("by", ["secret", "key"])
def test_our_own_client_gets_tokens_and_renews_them(face: Face, by: str, held: bool) -> None:
    clock = FixedClock(int(time.time()) * SECOND)
    seed, signer_key = keypair()
    signer = Signer(seed)
    who: ClientSecret | ClientKey = ClientSecret(face.service.credential())
    if by == "key":
        who = ClientKey(face.register({"jwk": public_jwk(signer_key)}), signer)
    url = f"http://127.0.0.1:{face.service.port}"
    source = AccessTokens(
        url, "eu", who, scope=("tokenize:customer.name",), bound=signer if held else None, now=clock.now
    )
    client = Client(url, "eu", source)
    assert client.request("GET", "whoami")["permissions"] == ["tokenize:customer.name"]
    first = source._token
    assert client.request("POST", "tokenize", {"field": "customer.name", "values": ["Ada"]})["tokens"]
    assert source._token == first
    clock.advance(10 * SECOND)
    assert first is not None
    name, secret = face.client
    admin = {"client_id": name, "client_secret": secret, "token": first[0]}
    assert face.form("oauth/revoke", admin).status == 200
    assert client.request("GET", "whoami")["permissions"] == ["tokenize:customer.name"]  # by another one
    assert source._token != first
    client.close()
    wrong = Client(url, "eu", AccessTokens(url, "eu", ClientKey("ck_" + "0" * 26, signer)))
    with pytest.raises(Unauthenticated, match="credential_invalid"):
        wrong.request("GET", "whoami")
    wrong.close()


def test_streams_take_tokens_and_no_proofs(face: Face) -> None:
    head = {"content-type": "application/x-ndjson"}
    lines = b'{"field":"customer.name"}\n{"value":"Ada"}\n'
    token = face.token()
    path = "/v1/eu/tokenize/stream"
    taken = face.service.request("POST", path, lines, {**head, "authorization": f"Bearer {token}"})
    assert taken.status == 200
    prover = Prover()
    bound = face.bound(prover)
    proof = prover.proof("POST", face.url("tokenize/stream"), bound)
    refused = face.service.request(
        "POST", path, lines, {**head, "authorization": f"DPoP {bound}", "dpop": proof}
    )
    assert (refused.status, refused.code) == (422, "operation_unsupported")


def test_all_algorithms_of_the_library_are_either_taken_or_refused() -> None:
    """What the library learns one day is taken here only once somebody says so."""
    assert set(ALGORITHMS) <= set(ALL)
    assert not any(name.startswith("HS") or name == "none" for name in ALGORITHMS)
