"""Our own vectors: the package and a second decoder judge each, and agree on what it is or is refused as.

The files are what `python -m tests.vectors.make` writes. A decoder of either kind that lacks one of its
checks disagrees with some vector: the mutants below are all the checks there are.
"""

from __future__ import annotations

import ast
import copy
import hmac
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.vectors import (
    made_audit,
    made_backups,
    made_identifiers,
    made_ve1,
    make,
    second_audit,
    second_backups,
    second_decoder,
    second_identifiers,
    second_proofs,
    second_tokens,
)
from tests.vectors.our_proofs import Grants, our_proof
from vault import identifiers
from vault.audit import event
from vault.context import EncryptionContext, Use
from vault.crypto import aead
from vault.crypto.block import BlockCipher
from vault.crypto.kdf import Label, expand
from vault.crypto.mac import secret_digest
from vault.envelope import message, seal
from vault.errors import Denied, IntegrityError, Unauthenticated, ValueRefused
from vault.identifiers import KeyId, RowId
from vault.keyring.hierarchy import Epoch
from vault.kms import erased
from vault.secret import Secret
from vault.services import backup_file
from vault.tokens import vaulted

Vector = dict[str, Any]
Verdict = Any  # what the vector holds, or the class that it is refused as
Judge = Callable[[Any, Vector], Verdict]

FOLDER = Path(__file__).parent
FILES: dict[str, dict[str, Any]] = {
    name: json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")) for name in make.FORMATS
}
VALID = [(name, vector) for name, file in FILES.items() for vector in file["valid"]]
DEFECTIVE = [(name, vector) for name, file in FILES.items() for vector in file["defective"]]


def label(given: Any) -> str:
    return given if isinstance(given, str) else given.get("name") or given["defect"]


def unhex(written: str | None) -> bytes | None:
    return None if written is None else bytes.fromhex(written)


def place(context: Vector) -> EncryptionContext:
    """The package's form of a vector's context."""
    record = unhex(context["record"])
    return EncryptionContext(
        Use(context["use"]), context["tenant"], context["region"], context["field"], record
    )


def stored(vector: Vector) -> tuple[Any, ...]:
    return tuple(unhex(vector[name]) for name in ("body", "leaf", "items", "salt"))


# what each side makes of a vector; `by` is the module with the decoder, or a mutant of it


def second_ve1(by: Any, vector: Vector) -> Verdict:
    raw = by.decode_text(vector["text"]) if "text" in vector else bytes.fromhex(vector["message"])
    key, key_id = bytes.fromhex(vector["key"]), bytes.fromhex(vector["key_id"])
    return by.open_ve1(key, key_id, vector["key_version"], vector["context"], raw).hex()


def second_token(by: Any, vector: Vector) -> Verdict:
    return by.decode_token(bytes.fromhex(vector["key"]), vector["token"]).hex()


def second_identifier(by: Any, vector: Vector) -> Verdict:
    if "credential" in vector:
        kind, row, digest = by.decode_credential(vector["credential"])
        return [kind, row, digest.hex()]
    return by.decode_id(vector["prefix"], vector["text"]).hex()


def second_event(by: Any, vector: Vector) -> Verdict:
    if "canonical" in vector:
        return by.read_body(bytes.fromhex(vector["canonical"]))
    return by.check_event(*stored(vector))


def second_backup(by: Any, vector: Vector) -> Verdict:
    if "log" in vector:
        found = by.read_log(bytes.fromhex(vector["log"]), vector["region"])
        return [[key.hex(), events, at] for key, events, at in found]
    key, epoch_id = bytes.fromhex(vector["key"]), bytes.fromhex(vector["epoch_id"])
    found = by.read_file(
        bytes.fromhex(vector["file"]), vector["part"], key, vector["region"], vector["epoch"], epoch_id
    )
    return made_backups.shown([list(frame) for frame in found])


def our_ve1(by: Any, vector: Vector) -> Verdict:
    raw = by.from_text(vector["text"]) if "text" in vector else bytes.fromhex(vector["message"])
    key = seal.SealingKey(
        KeyId(bytes.fromhex(vector["key_id"])), vector["key_version"], Secret(bytes.fromhex(vector["key"]))
    )
    if "text" in vector:  # that of bytes is judged with the bytes
        return seal.open_message(key, place(vector["context"]), raw).hex()
    return by.open_message(key, place(vector["context"]), raw).hex()


def our_token(by: Any, vector: Vector) -> Verdict:
    cipher = BlockCipher(Secret(bytes.fromhex(vector["key"])))
    return by.decode(cipher, vector["token"]).hex()


def our_identifier(by: Any, vector: Vector) -> Verdict:
    if "credential" in vector:
        kind, body, secret = by.split_credential(vector["credential"])
        return [kind, f"{'gr' if kind == 'cg' else kind}_{body}", secret_digest(secret).hex()]
    return by.parse_id(vector["prefix"], vector["text"]).hex()


def our_event(by: Any, vector: Vector) -> Verdict:
    """Canonical is what the package writes for what it reads."""
    if "canonical" not in vector:
        return by.check_event(*stored(vector))
    raw = bytes.fromhex(vector["canonical"])
    try:
        content = msgspec.json.decode(raw, type=dict[str, Any])
        same = by.canonical(content) == raw
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
        same = False
    if not same:
        raise ValueError("not canonical")
    return content


def second_proof(by: Any, vector: Vector) -> Verdict:
    if "chain" in vector:
        return by.read_chain(vector["chain"], vector["grant"], vector["holder"])
    return by.read_proof(vector["proof"], vector["request"])


class Backups:
    """Both readers of docs/spec/backups.md; a mutant of one module stands in for its names."""

    frames = staticmethod(backup_file.frames)
    ErasedLog = staticmethod(erased.ErasedLog)


def our_backup(by: Any, vector: Vector) -> Verdict:
    """The verdict of the package, without its reasons, which are for people."""
    with tempfile.TemporaryDirectory() as name:
        try:
            return read_backup(by, vector, Path(name))
        except IntegrityError as refusal:
            raise IntegrityError(refusal.code) from None


def read_backup(by: Any, vector: Vector, folder: Path) -> Verdict:
    if "log" in vector:
        (folder / erased.NAME).write_bytes(bytes.fromhex(vector["log"]))
        entries = by.ErasedLog(vector["region"], [folder]).read().values()
        return [[entry.key.hex(), entry.events, entry.at] for entry in entries]
    (folder / "file").write_bytes(bytes.fromhex(vector["file"]))
    epoch = None if vector["part"] == "values" else epoch_of(vector)
    return made_backups.shown([list(frame) for frame in by.frames(folder / "file", epoch)])


def epoch_of(vector: Vector) -> Epoch:
    """An epoch of which no more is known than its key."""
    key = Secret(bytes.fromhex(vector["key"]))
    backup = expand(key, Label.EPOCH_BACKUP)
    sealing = seal.SealingKey(KeyId(bytes.fromhex(vector["epoch_id"])), vector["epoch"], backup)
    return Epoch(vector["epoch"], vector["region"], sealing, backup, sealing)


class Both:
    """Everything of the package that decodes `ve1`; a mutant of one module stands in for its names."""

    open_message = staticmethod(seal.open_message)
    from_text = staticmethod(message.from_text)


SECOND: dict[str, tuple[ModuleType, Judge]] = {
    "ve1": (second_decoder, second_ve1),
    "tokens": (second_tokens, second_token),
    "identifiers": (second_identifiers, second_identifier),
    "audit": (second_audit, second_event),
    "proofs": (second_proofs, second_proof),
    "backups": (second_backups, second_backup),
}
OURS: dict[str, tuple[Any, Judge]] = {
    "ve1": (Both, our_ve1),
    "tokens": (vaulted, our_token),
    "identifiers": (identifiers, our_identifier),
    "audit": (event, our_event),
    "proofs": (Grants, our_proof),
    "backups": (Backups, our_backup),
}
EXPECTED: dict[str, Callable[[Vector], Verdict]] = {
    "ve1": lambda vector: vector["plaintext"],
    "tokens": lambda vector: vector["row"],
    "identifiers": lambda vector: (
        [vector["kind"], vector["row"], vector["sha256"]] if "credential" in vector else vector["bytes"]
    ),
    "audit": lambda vector: json.loads(bytes.fromhex(vector["canonical"])) if "canonical" in vector else None,
    "proofs": lambda vector: vector["says"],
    "backups": lambda vector: vector["rows"] if "rows" in vector else vector["entries"],
}


def of_second(name: str, vector: Vector, by: Any = None) -> Verdict:
    """What the second decoder says; anything but a verdict is an error of its own."""
    module, judge = SECOND[name]
    try:
        return judge(by or module, vector)
    except Exception as refusal:
        return getattr(refusal, "failure", f"crashed: {type(refusal).__name__}")


def of_ours(name: str, vector: Vector, by: Any = None) -> Verdict:
    """What the package says."""
    module, judge = OURS[name]
    try:
        return judge(by or module, vector)
    except (IntegrityError, ValueRefused, Unauthenticated, Denied) as refusal:
        if not (refusal.__context__ is None or refusal.__suppress_context__):
            return "says more than its code"
        return " ".join([refusal.code, *map(str, refusal.facts.values())])
    except ValueError as refusal:
        said = {"not such an id": "not_an_id", "not a credential": "credential_invalid"}
        said["not canonical"] = "not_canonical"
        return said.get(str(refusal), "crashed: ValueError")
    except Exception as crash:
        return f"crashed: {type(crash).__name__}"


# the files


@pytest.mark.parametrize("name", make.FORMATS)
def test_a_file_is_what_its_generator_writes(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == make.content(name)


def test_counts_and_hashes_are_written_down() -> None:
    page = make.SOURCES.read_text(encoding="utf-8")
    assert make.sources(page) == page
    assert all(f"## {name}.json" in page for name in make.FORMATS)


def test_there_are_enough() -> None:
    """At least 200 with one defect each, some of every class, no two the same."""
    classes = {vector["class"] for _, vector in DEFECTIVE}
    assert classes == {
        "ciphertext_invalid",
        "token_unknown",
        "not_an_id",
        "credential_invalid",
        "not_canonical",
        "audit_broken leaf",
        "audit_broken items",
        "proof_invalid",
        "proof_expired",
        "delegation_denied",
        "backup_invalid",
        "integrity_failed",
    }
    asked = {
        json.dumps([name, {k: v for k, v in vector.items() if k not in ("defect", "class", "of")}])
        for name, vector in DEFECTIVE
    }
    assert len(asked) == len(DEFECTIVE) >= 350
    names = [(name, label(vector)) for name, vector in VALID + DEFECTIVE]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", make.FORMATS)
def test_each_differs_from_a_sound_one_in_one_thing(name: str) -> None:
    """One member; a body of the log and its leaf count as one, as do bytes moved between two members."""
    sound = {vector["name"]: vector for vector in FILES[name]["valid"]}
    two = {("body", "leaf"), ("items", "salt")}
    for bad in FILES[name]["defective"]:
        good = sound[bad["of"]]
        differing = tuple(
            member for member in make.FORMATS[name].COMPARED if member in bad and bad[member] != good[member]
        )
        assert len(differing) == 1 or differing in two, bad["defect"]


# the verdicts


@pytest.mark.parametrize(("name", "vector"), VALID, ids=label)
def test_what_is_sound_is_read_by_both(name: str, vector: Vector) -> None:
    assert of_ours(name, vector) == of_second(name, vector) == EXPECTED[name](vector)


@pytest.mark.parametrize(("name", "vector"), DEFECTIVE, ids=label)
def test_what_has_a_defect_is_refused_by_both_as_the_same(name: str, vector: Vector) -> None:
    assert of_ours(name, vector) == of_second(name, vector) == vector["class"]


@pytest.mark.parametrize("vector", FILES["ve1"]["valid"], ids=label)
def test_the_package_writes_the_sound_messages(vector: Vector, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer that made them shares no code with it."""
    monkeypatch.setattr("os.urandom", lambda size: made_ve1.SALT[:size])
    key = seal.SealingKey(KeyId(made_ve1.KEY_ID), vector["key_version"], Secret(made_ve1.KEY))
    written = seal.seal(key, place(vector["context"]), bytes.fromhex(vector["plaintext"]))
    assert written.hex() == vector["message"]
    assert place(vector["context"]).encode().hex() == vector["context_bytes"]
    assert message.to_text(written) == vector["text"]
    assert second_decoder.encode_context(vector["context"]).hex() == vector["context_bytes"]
    text = {**{k: v for k, v in vector.items() if k != "message"}}
    assert of_ours("ve1", text) == of_second("ve1", text) == vector["plaintext"]


def test_the_package_writes_the_other_sound_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    for vector in FILES["tokens"]["valid"]:
        cipher = BlockCipher(Secret(bytes.fromhex(vector["key"])))
        assert vaulted.encode(cipher, RowId(bytes.fromhex(vector["row"]))) == vector["token"]
    for vector in FILES["identifiers"]["valid"]:
        if "text" in vector:
            assert identifiers.format_id(vector["prefix"], bytes.fromhex(vector["bytes"])) == vector["text"]
    content = dict(made_audit.CONTENT)
    own = {name: content.pop(name) for name in ("v", "kind", "at", "region", "tenant", "actor", "decision")}
    told = event.Event(
        own["kind"], own["tenant"], own["actor"], content, json.loads(made_audit.ITEMS), own["decision"]
    )
    monkeypatch.setattr("os.urandom", lambda size: made_audit.SALT[:size])
    sealed = event.seal_event(told, 1_795_442_400_000_000, own["region"])
    (good,) = [vector for vector in FILES["audit"]["valid"] if vector["name"] == made_audit.GOOD_EVENT]
    assert (sealed.body, sealed.leaf, sealed.items, sealed.salt) == stored(good)


def test_ids_are_made_of_uuids_of_version_7(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the package writes, read as the page says; a reader of another version or variant would notice."""
    monkeypatch.setattr("vault.identifiers.time.time_ns", lambda: 1_763_905_225_427 * 1_000_000 + 5)
    monkeypatch.setattr("vault.identifiers._sequence", identifiers._Sequence())
    for prefix in made_identifiers.PREFIXES:
        raw = second_identifiers.decode_id(prefix, identifiers.new_id(prefix))
        assert second_identifiers.milliseconds(raw) == 1_763_905_225_427
        for at, bits in ((6, 0x40), (6, 0x80), (8, 0x40), (8, 0xC0)):
            other = raw[:at] + bytes((raw[at] ^ bits,)) + raw[at + 1 :]
            with pytest.raises(second_identifiers.NotAnId):
                second_identifiers.milliseconds(other)


# the decoders without one of their checks


def refuses(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Raise)


def mutants(module: ModuleType, functions: set[str]) -> Iterator[tuple[str, str]]:
    """(which check is gone, the module's text without it), for each check of these functions.

    A check is an `if` that does nothing but refuse; of one that refuses for several reasons each is taken
    out alone.
    """
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    checks = [
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and function.name in functions
        for node in ast.walk(function)
        if isinstance(node, ast.If) and all(map(refuses, node.body))
    ]
    for check in checks:
        whole, reasons = check.test, [check.test]
        if isinstance(whole, ast.BoolOp) and isinstance(whole.op, ast.Or):
            reasons = list(whole.values)
        for reason in reasons:
            left = [other for other in reasons if other is not reason]
            check.test = (
                ast.BoolOp(ast.Or(), left) if len(left) > 1 else left[0] if left else ast.Constant(False)
            )
            yield ast.unparse(reason), ast.unparse(ast.fix_missing_locations(copy.deepcopy(tree)))
        check.test = whole


def load(module: ModuleType, text: str) -> ModuleType:
    """A module like this one, with other text; known by its name while it is made, as dataclasses ask."""
    made = ModuleType(module.__name__ + "_mutant")
    sys.modules[made.__name__] = made
    try:
        exec(compile(text, made.__name__, "exec"), made.__dict__)
    finally:
        del sys.modules[made.__name__]
    return made


def disagreements(name: str, judge: Callable[[str, Vector, Any], Verdict], by: Any) -> list[str]:
    """The defective vectors that a decoder does not refuse as what they are."""
    return [label(v) for v in FILES[name]["defective"] if judge(name, v, by) != v["class"]]


@pytest.mark.parametrize("name", make.FORMATS)
def test_a_second_decoder_without_one_check_disagrees_somewhere(name: str) -> None:
    module, _ = SECOND[name]
    functions = {node for node in vars(module) if callable(getattr(module, node))} - {"milliseconds"}
    assert disagreements(name, of_second, module) == []
    gone = [
        check
        for check, text in mutants(module, functions)
        if not disagreements(name, of_second, load(module, text))
    ]
    assert gone == []


# Checks of ours that another one repeats: without it the same is refused a little later.
REPEATED = {
    (vaulted, "body == token"): "what is taken is written again and compared",
    (vaulted, "_BODY.fullmatch(body) is None"): "the same",
    (message, "body == text"): "the same",
    (message, "_BASE64URL.fullmatch(body) is None"): "the same",
    (seal, "len(raw) < OVERHEAD_BYTES"): "what is too short lacks bytes of its commitment or its tag",
    (backup_file, "problem.code == 'backup_invalid'"): "it keeps the reason, which is no part of a verdict",
    (backup_file, "part is None"): "a part that is none is not the header's either",
    (backup_file, "(epoch is None) is not (header.part == VALUES)"): "a sealed frame is no link of a chain",
    (backup_file, "not 0 < _LENGTH.unpack(head)[0] <= most"): "it bounds what is read at once",
    (backup_file, "len(raw) != length"): "what was cut off is not what was bound",
    (seal, "parse(raw) != parts"): "not of bytes; tests/unit/envelope/test_seal.py has the parts",
}


def test_the_package_without_one_check_disagrees_somewhere() -> None:
    """Each check is needed or is one that another repeats."""
    survived: set[tuple[ModuleType, str]] = set()
    tried = 0
    for name, module, functions in (
        ("ve1", seal, {"open_message"}),
        ("ve1", message, {"from_text"}),
        ("tokens", vaulted, {"decode"}),
        ("identifiers", identifiers, {"parse_id", "split_credential"}),
        ("audit", event, {"check_event"}),
        ("backups", backup_file, {"frames", "open", "_header", "_piece"}),
        ("backups", erased, {"_entries"}),
    ):
        for check, text in mutants(module, functions):
            tried += 1
            made: Any = load(module, text)
            if name == "ve1":
                rest = {n: vars(Both)[n] for n in ("open_message", "from_text") if n not in functions}
                made = type("Mutant", (), {**rest, **{n: staticmethod(vars(made)[n]) for n in functions}})
            if module is backup_file:  # what decodes the header finds its types in the module by name
                made.Header = backup_file.Header
            if name == "backups":
                own = {n: staticmethod(vars(made)[n]) for n in ("frames", "ErasedLog") if n in vars(made)}
                made = type("Mutant", (Backups,), own)
            assert all(of_ours(name, v, made) == EXPECTED[name](v) for v in FILES[name]["valid"]), check
            if not disagreements(name, of_ours, made):
                survived.add((module, check))
    assert tried >= 16
    assert survived <= REPEATED.keys()


@pytest.mark.parametrize("lacking", ["commitment", "tag", "context", "header"])
def test_opening_without_one_of_its_bindings_takes_something(
    lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the package and in the second decoder: no commitment, no tag, less associated data."""

    class Lenient:
        """AES-GCM that misses what `lacking` says."""

        def __init__(self, key: bytes) -> None:
            self._key = key
            self._gcm = AESGCM(key)

        def decrypt(self, iv: bytes, sealed: bytes, associated: bytes) -> bytes:
            if lacking == "tag":
                decryptor = Cipher(algorithms.AES(self._key), modes.CTR(iv + b"\0\0\0\2")).decryptor()
                return decryptor.update(sealed[:-16]) + decryptor.finalize()
            if lacking == "context":
                associated = associated[:86]
            if lacking == "header":
                associated = associated[86:]
            return self._gcm.decrypt(iv, sealed, associated)

    for module in (aead, second_decoder):
        if lacking == "commitment":
            monkeypatch.setattr(module, "hmac", NoComparison)
        else:
            monkeypatch.setattr(module, "AESGCM", Lenient)
    for judge in (of_ours, of_second):
        assert disagreements("ve1", judge, None)


class NoComparison:
    """The module `hmac`, to which all are the same."""

    new = staticmethod(hmac.new)

    @staticmethod
    def compare_digest(*_: bytes) -> bool:
        return True


def test_the_second_decoders_share_no_code_with_the_package() -> None:
    allowed = {"__future__", "base64", "hashlib", "hmac", "json", "re", "typing", "cryptography"}
    for module, _ in SECOND.values():
        assert module.__file__ is not None
        text = Path(module.__file__).read_text(encoding="utf-8")
        named = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                named |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module != "tests.vectors":
                named.add((node.module or "").partition(".")[0])
            elif isinstance(node, ast.ImportFrom):  # one may use another
                assert {alias.name for alias in node.names} <= {"second_decoder"}
        assert named <= allowed
        assert text.count("\n") < 260
