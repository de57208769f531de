"""Every way in which Python shows, copies, compares or serialises an object, tried on a Secret."""

from __future__ import annotations

import copy
import dataclasses
import gc
import inspect
import io
import json
import logging
import pickle
import pprint
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from vault.secret import Secret

CANARY = b"canary-7f3a91"
HEX = CANARY.hex()


@pytest.fixture
def secret() -> Secret:
    return Secret(CANARY)


@dataclasses.dataclass
class Holder:
    name: str
    key: Secret


class Row(msgspec.Struct):
    name: str
    key: Secret


def leaks(text: str | bytes) -> bool:
    """Whether the canary stands in a text, as it is, in hexadecimal or as a list of numbers."""
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    return any(form in text for form in (CANARY.decode(), HEX, ", ".join(map(str, CANARY))))


def test_the_detector_detects() -> None:
    assert leaks(repr(CANARY))
    assert leaks(CANARY)
    assert leaks(str(bytearray(CANARY)))
    assert leaks(str(list(CANARY)))
    assert leaks(HEX)
    assert not leaks("<Secret>")


SHOWN: dict[str, Callable[[Any], Any]] = {
    "repr": repr,
    "str": str,
    "ascii": ascii,
    "format": format,
    "format with a spec": lambda s: format(s, ">40"),
    "format to hexadecimal": lambda s: format(s, "x"),
    "f-string": lambda s: f"{s} {s!r} {s!s} {s!a} {s:>30} {s=}",
    "str.format": lambda s: "{} {!r} {:s}".format(s, s, s),  # noqa: UP032 - this is the path under test
    "% with s": lambda s: "%s" % s,  # noqa: UP031
    "% with r": lambda s: "%r" % s,  # noqa: UP031
    "% with a in bytes": lambda s: b"%a" % s,
    "in a list": lambda s: str([s]),
    "in a dict": lambda s: str({"key": s}),
    "in an exception": lambda s: repr(ValueError(s)) + str(ValueError(s)),
    "in a dataclass": lambda s: repr(Holder("n", s)),
    "in a Struct": lambda s: repr(Row("n", s)),
    "pprint": lambda s: pprint.pformat({"key": [s], "row": Holder("n", s)}),
    "json with a default of str": lambda s: json.dumps({"key": s}, default=str),
    "json with a default of repr": lambda s: json.dumps({"key": s}, default=repr),
    "bound method": lambda s: repr(s.expose),
    "shallow dataclass fields": lambda s: str(
        [getattr(Holder("n", s), f.name) for f in dataclasses.fields(Holder)]
    ),
    "vars of what holds it": lambda s: str(vars(Holder("n", s))),
    "signature of a default": lambda s: str(inspect.signature(eval("lambda key=s: 0", {"s": s}))),
}

REFUSED: dict[str, Callable[[Any], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "bytes join": lambda s: b"".join([s]),
    "% with b in bytes": lambda s: b"%b" % s,
    "% with d": lambda s: "%d" % s,  # noqa: UP031
    "int.from_bytes": lambda s: int.from_bytes(s, "big"),
    "add": lambda s: s + b"",
    "iter": iter,
    "list": list,
    "tuple": tuple,
    "set": set,
    "unpack": lambda s: (*s,),
    "sorted": sorted,
    "map": lambda s: list(map(str, s)),
    "enumerate": lambda s: list(enumerate(s)),
    "reversed": lambda s: list(reversed(s)),
    "in": lambda s: 99 in s,
    "index": lambda s: s[0],
    "slice": lambda s: s[:4],
    "vars": vars,
    "__dict__": lambda s: s.__dict__,
    "hash": hash,
    "dict key": lambda s: {s: 1},
    "set member": lambda s: {s},
    "== itself": lambda s: s == s,
    "== another": lambda s: s == Secret(CANARY),
    "== bytes": lambda s: s == CANARY,
    "bytes ==": lambda s: CANARY == s,  # noqa: SIM300 - the other side is asked first
    "!=": lambda s: s != CANARY,
    "<": lambda s: s < s,
    "count in a list": lambda s: [Secret(CANARY)].count(s),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "deepcopy of what holds it": lambda s: copy.deepcopy(Holder("n", s)),
    "reduce": lambda s: s.__reduce__(),
    "state": lambda s: s.__getstate__(),
    "json": json.dumps,
    "json of what holds it": lambda s: json.dumps({"key": [s]}),
    "json with a default of vars": lambda s: json.dumps(s, default=vars),
    "json with a default of list": lambda s: json.dumps(s, default=list),
    "msgspec json": msgspec.json.encode,
    "msgspec msgpack": msgspec.msgpack.encode,
    "msgspec of a Struct": lambda s: msgspec.json.encode(Row("n", s)),
    "msgspec of a dataclass": lambda s: msgspec.msgpack.encode(Holder("n", s)),
    "msgspec builtins": msgspec.to_builtins,
    "asdict": lambda s: dataclasses.asdict(Holder("n", s)),
    "astuple": lambda s: dataclasses.astuple(Holder("n", s)),
    "file write": lambda s: io.BytesIO().write(s),
    "new attribute": lambda s: setattr(s, "note", 1),
}


@pytest.mark.parametrize("path", SHOWN)
def test_what_is_shown_hides_the_bytes(secret: Secret, path: str) -> None:
    shown = SHOWN[path](secret)
    assert not leaks(shown)


@pytest.mark.parametrize("path", REFUSED)
def test_what_would_show_them_is_refused(secret: Secret, path: str) -> None:
    with pytest.raises((TypeError, AttributeError)) as refusal:
        REFUSED[path](secret)
    assert not leaks(str(refusal.value))
    assert not leaks(repr(refusal.value))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_pickle_protocol_takes_it(secret: Secret, protocol: int) -> None:
    for thing in (secret, [secret], Holder("n", secret), secret.expose):
        with pytest.raises(TypeError):
            pickle.dumps(thing, protocol)


@pytest.mark.parametrize("format_", ["%s", "%r", "%a", "%30s", "%(key)s"])
def test_a_log_line_hides_the_bytes(secret: Secret, format_: str) -> None:
    stream = io.StringIO()
    logger = logging.Logger("test")
    logger.addHandler(logging.StreamHandler(stream))
    logger.error(format_, {"key": secret} if "(" in format_ else secret)
    assert "<Secret>" in stream.getvalue()
    assert not leaks(stream.getvalue())


def test_a_traceback_with_locals_hides_the_bytes(secret: Secret) -> None:
    def fail(key: Secret) -> None:
        held = Holder("n", key)
        raise RuntimeError(held)

    with pytest.raises(RuntimeError) as failure:
        fail(secret)
    shown = "".join(traceback.TracebackException.from_exception(failure.value, capture_locals=True).format())
    assert "held = Holder(name='n', key=<Secret>)" in shown
    assert not leaks(shown)


def test_a_refusal_of_its_own_hides_the_bytes_from_a_traceback_with_locals(secret: Secret) -> None:
    for path in (bytes, list, copy.copy, pickle.dumps):
        try:
            path(secret)
        except TypeError as refusal:
            shown = traceback.TracebackException.from_exception(refusal, capture_locals=True)
            assert not leaks("".join(shown.format()))
        else:
            pytest.fail("was not refused")


def test_a_subclass_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="final"):

        class Open(Secret):
            pass

    with pytest.raises(TypeError, match="final"):
        type("Open", (Secret,), {})


def test_the_one_door_gives_the_bytes(secret: Secret) -> None:
    assert secret.expose() == CANARY
    assert len(secret) == len(CANARY)
    assert secret
    assert not Secret(b"")


@pytest.mark.parametrize("source", [bytes, bytearray, memoryview])
def test_it_keeps_a_copy_of_its_own(source: type[bytes | bytearray | memoryview]) -> None:
    original = bytearray(CANARY)
    secret = Secret(source(original))
    original[:] = bytes(len(original))
    assert secret.expose() == CANARY


@pytest.mark.parametrize("value", [13, True, CANARY.decode(), list(CANARY), None, 1.5])
def test_only_bytes_are_taken(value: Any) -> None:
    with pytest.raises(TypeError, match="holds bytes"):
        Secret(value)


def test_matches_compares_contents(secret: Secret) -> None:
    assert secret.matches(Secret(CANARY))
    assert not secret.matches(Secret(CANARY + b"x"))
    assert not secret.matches(Secret(bytes(len(CANARY))))
    assert not secret.matches(Secret(b""))


def test_a_wiped_secret_serves_no_more(secret: Secret) -> None:
    buffer: bytearray = getattr(secret, "_Secret__buffer")  # noqa: B009 - to watch it being overwritten
    assert bytes(buffer) == CANARY
    secret.wipe()
    assert not buffer
    assert len(secret) == 0
    for use in (secret.expose, lambda: secret.matches(secret), lambda: Secret(b"").matches(secret)):
        with pytest.raises(ValueError, match="wiped"):
            use()
    secret.wipe()


def test_a_secret_that_nobody_holds_is_overwritten() -> None:
    secret = Secret(CANARY)
    buffer: bytearray = getattr(secret, "_Secret__buffer")  # noqa: B009 - to watch it being overwritten
    del secret
    gc.collect()
    assert buffer == bytes(len(CANARY))


def test_a_secret_that_could_not_be_made_goes_quietly() -> None:
    half_made = Secret.__new__(Secret)
    del half_made  # an error in __del__ would be reported, and warnings are errors here
    gc.collect()


def test_expose_after_a_lost_race_hides_the_bytes(secret: Secret) -> None:
    object.__setattr__(secret, "_Secret__wiped", True)  # as if wiped between the copy and the look
    with pytest.raises(ValueError, match="wiped") as refusal:
        secret.expose()
    shown = traceback.TracebackException.from_exception(refusal.value, capture_locals=True)
    assert not leaks("".join(shown.format()))
