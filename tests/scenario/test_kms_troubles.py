"""Key stores in trouble, through a real cell: what is open serves on, what starts is refused in time, and all
is well within five seconds after the trouble is over.

In each way: a cell is made and opened, a value tokenized; the trouble begins; the open cell tokenizes and
detokenizes as before; opening it anew, and making another, is refused within the deadline; the trouble ends;
both work. The servers are fakes (tests/fakes), except for SoftHSM2.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.fakes.transit import ROOT, FakeTransit, Token
from tests.fakes.trouble import MODES, Trouble
from tests.support.cells import NAME, BuiltCell
from tests.support.certificates import authority
from tests.support.keystores import (
    PIN,
    KeyStore,
    config_of,
    fake_kms,
    fake_transit,
    new_token,
    secret_file,
    softhsm,
    softhsm_module,
)
from vault.config import Config
from vault.errors import CoatcheckError
from vault.wiring import Wiring, as_host

DEADLINE_S = 2.0
SLACK_S = 3.0  # what opening a cell does besides, on a machine that has other things to do
HEALED_S = 5.0
PERSON = "Ada Lovelace"


@dataclass
class Case:
    """A trouble: how it begins and ends, and what is said of it."""

    store: KeyStore
    begin: Callable[[], object]
    heal: Callable[[], object]
    cause: str
    refuses_init: bool = False


Made = Callable[[Path], AbstractContextManager[Case]]


def network(mode: str, cause: str) -> Made:
    @contextmanager
    def made(folder: Path) -> Iterator[Case]:
        with fake_transit(folder, "approle") as store:
            trouble = Trouble(store.control.port)
            uri = store.uri.replace(f":{store.control.port}/", f":{trouble.port}/")
            try:
                yield Case(replace(store, uri=uri), lambda: trouble.begin(mode), trouble.heal, cause, True)
            finally:
                trouble.close()

    return made


def aws_network(mode: str, cause: str) -> Made:
    @contextmanager
    def made(folder: Path) -> Iterator[Case]:
        with fake_kms(folder) as store:
            trouble = Trouble(store.control.port)
            uri = store.uri.replace(f":{store.control.port}/", f":{trouble.port}/")
            try:
                yield Case(replace(store, uri=uri), lambda: trouble.begin(mode), trouble.heal, cause)
            finally:
                trouble.close()

    return made


def transit(cause: str, *, status: int | None = None, sealed: bool = False, raw: bytes | None = None) -> Made:
    @contextmanager
    def made(folder: Path) -> Iterator[Case]:
        with fake_transit(folder, "approle") as store:
            fake: FakeTransit = store.control

            def begin() -> None:
                fake.status, fake.sealed, fake.raw = status, sealed, raw

            yield Case(store, begin, fake.heal, cause, status is None)

    return made


@contextmanager
def token_revoked(folder: Path) -> Iterator[Case]:
    """The token of the file expires; another is put there."""
    with fake_transit(folder) as store:
        fake: FakeTransit = store.control

        def heal() -> None:
            fake.tokens["hvs.next"] = Token(0, float("inf"))
            secret_file(folder, "token", b"hvs.next")

        yield Case(store, fake.tokens.clear, heal, "denied")
        fake.tokens[ROOT] = Token(0, float("inf"))


@contextmanager
def secret_id_revoked(folder: Path) -> Iterator[Case]:
    with fake_transit(folder, "approle") as store:
        fake: FakeTransit = store.control

        def begin() -> None:
            fake.secret_ids.clear()
            fake.tokens.clear()

        def heal() -> None:
            fake.secret_ids.add("another")
            secret_file(folder, "secret_id", b"another")

        yield Case(store, begin, heal, "denied")


@contextmanager
def engine_gone(folder: Path) -> Iterator[Case]:
    """The engine is mounted elsewhere: 404."""
    with fake_transit(folder, "approle") as store:
        fake: FakeTransit = store.control
        yield Case(
            store,
            lambda: setattr(fake, "mount", "moved"),
            lambda: setattr(fake, "mount", "transit"),
            "missing",
        )


@contextmanager
def untrusted(folder: Path) -> Iterator[Case]:
    """The server shows a certificate of an authority that nobody here knows."""
    ours, theirs = authority(folder / "ours"), authority(folder / "theirs")
    ours.issue()
    theirs.issue()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def show(place: str) -> None:
        context.load_cert_chain(folder / place / "tls.crt", folder / place / "tls.key")

    show("ours")
    fake = FakeTransit(context)
    path = secret_file(folder, "token", ROOT.encode())
    auth = {"token_file": str(path), "ca": str(ours.path)}
    store = KeyStore(f"transit://127.0.0.1:{fake.port}/transit/coatcheck-eu", folder, auth=auth, control=fake)
    try:
        yield Case(store, lambda: show("theirs"), lambda: show("ours"), "tls")
    finally:
        fake.close()


def aws_state(state: str, cause: str) -> Made:
    """Every key changes its state, and changes back: an administrator's doing, and undoing."""

    @contextmanager
    def made(folder: Path) -> Iterator[Case]:
        with fake_kms(folder) as store:

            def turn(to: str) -> None:
                for key in store.control.keys.values():
                    key.state = to

            yield Case(store, lambda: turn(state), lambda: turn("Enabled"), cause)

    return made


def aws_error(code: str, status: int, cause: str) -> Made:
    @contextmanager
    def made(folder: Path) -> Iterator[Case]:
        with fake_kms(folder) as store:
            yield Case(
                store,
                lambda: setattr(store.control, "error", (code, status)),
                lambda: setattr(store.control, "error", None),
                cause,
            )

    return made


@contextmanager
def pin_wrong(folder: Path) -> Iterator[Case]:
    softhsm_module()
    label = f"pin-{os.urandom(4).hex()}"
    new_token(label)
    with softhsm(folder, label) as store:
        yield Case(
            store,
            lambda: secret_file(folder, "pin", b"0000-0000"),
            lambda: secret_file(folder, "pin", PIN),
            "config_invalid",
        )


@contextmanager
def token_pulled(folder: Path) -> Iterator[Case]:
    """The token is pulled out, and put in again: all sessions with it are lost."""
    from pkcs11 import lib

    module = softhsm_module()
    label = f"pulled-{os.urandom(4).hex()}"
    new_token(label)
    conf = Path(os.environ["SOFTHSM2_CONF"])
    tokens, away = conf.parent / "tokens", conf.parent / "away"

    def pull() -> None:
        tokens.rename(away)
        tokens.mkdir()
        lib(module).reinitialize()

    def put() -> None:
        tokens.rmdir()
        away.rename(tokens)
        lib(module).reinitialize()

    with softhsm(folder, label) as store:
        yield Case(store, pull, put, "unreachable")


CASES: dict[str, Made] = {
    "connection refused": network("refuse", "unreachable"),
    "reset in mid-answer": network("reset", "unreachable"),
    "hang": network("hang", "deadline"),
    "slow drip": network("drip", "deadline"),
    "garbage": network("garbage", "malformed"),
    "429": transit("throttled", status=429),
    "500": transit("failed", status=500),
    "503": transit("failed", status=503),
    "sealed": transit("sealed", sealed=True),
    "not initialized": transit("sealed", status=501),
    "JSON that is none of its own": transit("malformed", raw=b"[1]"),
    "403, token expired": token_revoked,
    "403, secret id revoked": secret_id_revoked,
    "404": engine_gone,
    "TLS": untrusted,
    "AWS, connection refused": aws_network("refuse", "unreachable"),
    "AWS, reset in mid-answer": aws_network("reset", "unreachable"),
    "AWS, hang": aws_network("hang", "deadline"),
    "AWS, slow drip": aws_network("drip", "deadline"),
    "AWS, garbage": aws_network("garbage", "malformed"),
    "AWS, key disabled": aws_state("Disabled", "disabled"),
    "AWS, key about to be deleted": aws_state("PendingDeletion", "pending_deletion"),
    "AWS, throttled": aws_error("ThrottlingException", 400, "throttled"),
    "AWS, access denied": aws_error("AccessDeniedException", 400, "denied"),
    "AWS, internal": aws_error("KMSInternalException", 500, "failed"),
    "HSM, PIN wrong": pin_wrong,
    "HSM, token pulled": token_pulled,
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    folder = tmp_path / "credentials"
    folder.mkdir()
    with CASES[request.param](folder) as made:
        yield made


def in_time(use: Callable[[], object], slack_s: float = SLACK_S) -> CoatcheckError:
    began = time.monotonic()
    with pytest.raises(CoatcheckError) as refused:
        use()
    assert time.monotonic() - began < DEADLINE_S + slack_s
    return refused.value


def within_reach(use: Callable[[], object]) -> None:
    """Does it as a supervisor does: again and again, until it works, for at most so long."""
    until = time.monotonic() + HEALED_S
    while True:
        try:
            use()
        except CoatcheckError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def opened(config: Config, stack: ExitStack) -> BuiltCell:
    found = Wiring(config).open("eu")
    stack.callback(found.close)
    return BuiltCell(found.cell, config, found.close)


def test_trouble_keeps_its_deadline_stops_no_open_cell_and_is_over_when_it_is_over(
    case: Case, tmp_path: Path
) -> None:
    config = config_of(case.store, tmp_path / "one")
    Wiring(config).create("eu", as_host())
    with ExitStack() as stack:
        built = opened(config, stack)
        built.populate()
        token = built.token(NAME, PERSON)
        grant = built.grant(NAME)
        case.begin()
        assert built.reveal(grant, NAME, token) == [PERSON]
        assert built.token(NAME, "another") != token
    with closing(Wiring(config).provider("eu")) as guard:
        in_time(lambda: guard.probe(1), slack_s=0.5)
    problem = in_time(lambda: opened(config, ExitStack()))
    assert problem.facts.get("cause", problem.code) in (case.cause, "deadline")
    if case.cause != "config_invalid":
        assert (problem.code, problem.facts["retry_after"]) == ("key_unavailable", 1)
    other = config_of(case.store, tmp_path / "other")
    if case.refuses_init:
        in_time(lambda: Wiring(other).create("eu", as_host()))
    reopened: list[BuiltCell] = []
    case.heal()
    with ExitStack() as stack:
        within_reach(lambda: reopened.append(opened(config, stack)))
        built.cell = reopened[-1].cell
        assert built.reveal(grant, NAME, token) == [PERSON]
        assert built.token(NAME, "another") != token
    if case.refuses_init:
        within_reach(lambda: Wiring(other).create("eu", as_host()))


def test_there_are_enough_ways_to_be_in_trouble() -> None:
    assert len(CASES) >= 12
    assert set(MODES) == {"refuse", "reset", "hang", "drip", "garbage"}
