"""The pages of context, `ve1`, tokens and identifiers say what the code does: examples and tables are run."""

from __future__ import annotations

import hashlib
import itertools
import re
from typing import Any

import pytest

from tests.unit.crypto.test_kdf import hkdf_expand
from tests.unit.envelope.pages import example, line, octets, text
from tests.vectors.second_decoder import decode_text, encode_context, open_ve1
from tests.vectors.second_identifiers import decode_credential
from vault import context
from vault.context import EncryptionContext, Use
from vault.crypto.aead import CommittingAead
from vault.crypto.block import BlockCipher
from vault.crypto.kdf import Label
from vault.crypto.mac import reference, secret_digest
from vault.envelope.message import HEADER_BYTES, OVERHEAD_BYTES, from_text, parse, to_text
from vault.envelope.seal import SealingKey, open_message
from vault.formats.catalog import parse_template
from vault.identifiers import PREFIXES, KeyId, RowId, format_id, parse_id, split_credential
from vault.secret import Secret
from vault.tokens.index import BlindIndex
from vault.tokens.shaped import claim_record
from vault.tokens.vaulted import decode, encode
from vault.tokens.vaultless import MAX_FIELD, MAX_TENANT, Vaultless

CONTEXT, VE1, TOKENS = example("context"), example("ve1"), example("tokens")
IDENTIFIERS = example("identifiers")


# context.md


@pytest.mark.parametrize("name", CONTEXT)
def test_an_encoding_is_the_one_on_the_page(name: str) -> None:
    row = CONTEXT[name]
    record = octets(row["record"]) if "record" in row else None
    place = EncryptionContext(Use(row["use"]), row["tenant"], row["region"], row.get("field"), record)
    assert place.encode() == octets(row["encoding"])


def test_the_tables_of_tags_and_labels_are_the_codes() -> None:
    page = text("context")
    tags = {int(number): name for number, name in re.findall(r"^\| (\d+) \| (\w+) \|", page, re.MULTILINE)}
    ours = {tag: name for name, tag in vars(context).items() if name.startswith("TAG_")}
    named = {"TAG_" + name.upper() for name in tags.values()}
    assert {number: "TAG_" + name.upper() for number, name in tags.items()} == ours
    assert named == set(ours.values())
    labels = re.findall(r"^\| `([a-z ]+)` \|", page, re.MULTILINE)
    assert labels == [use.value for use in Use]


# ve1.md


def message() -> bytes:
    """The example's message, put together from its parts as the table of bytes says."""
    parts = ("key_id", "salt", "commitment", "ciphertext", "tag")
    key_id, salt, commitment, ciphertext, tag = (octets(VE1[name]) for name in parts)
    version = int(VE1["key_version"]).to_bytes(4, "big")
    return b"\x01\x01" + key_id + version + salt + commitment + ciphertext + tag


def test_the_example_opens_with_both_decoders() -> None:
    key, key_id, version = octets(VE1["key"]), octets(VE1["key_id"]), VE1["key_version"]
    written = VE1["context"]
    place = EncryptionContext(
        Use(written["use"]), written["tenant"], written["region"], written["field"], octets(written["record"])
    )
    plaintext = octets(VE1["plaintext"])
    assert open_message(SealingKey(KeyId(key_id), version, Secret(key)), place, message()) == plaintext
    assert open_ve1(key, key_id, version, written, message()) == plaintext
    assert place.encode() == encode_context(written) == octets(VE1["context_bytes"])


def test_every_step_of_the_example_is_right() -> None:
    encoded = octets(VE1["context_bytes"])
    assert hashlib.sha256(encoded).digest() == octets(VE1["context_sha256"])
    info = b"\x01" + octets(VE1["salt"]) + octets(VE1["context_sha256"])
    okm = hkdf_expand(octets(VE1["key"]), Label.VE1.value + info, 76)
    assert okm == octets(VE1["enc_key"]) + octets(VE1["iv"]) + octets(VE1["commitment"])
    aead = CommittingAead(Secret(octets(VE1["key"])), b"\x01")
    sealed = aead.seal(octets(VE1["salt"]), message()[:22], octets(VE1["plaintext"]), encoded)
    assert sealed[54:86] == octets(VE1["commitment"])
    assert sealed[86:] == octets(VE1["ciphertext"]) + octets(VE1["tag"])
    assert sealed == message()


def test_the_text_form_of_the_example() -> None:
    written = line(VE1["text"])
    assert to_text(message()) == written
    assert from_text(written) == decode_text(written) == message()


def test_the_table_of_bytes_is_the_codes() -> None:
    rows = re.findall(r"^\| (\d+) \| (\d+|n) \| ([^|,]+)", text("ve1"), re.MULTILINE)
    assert [(int(at), size, what.strip()) for at, size, what in rows] == [
        (0, "1", "version"),
        (1, "1", "suite"),
        (2, "16", "key id"),
        (18, "4", "key version"),
        (22, "32", "salt"),
        (54, "32", "commitment"),
        (86, "n", "ciphertext"),
    ]
    for (at, size, _), (following, _, _) in itertools.pairwise(rows):
        assert int(at) + int(size) == int(following)
    assert (HEADER_BYTES, OVERHEAD_BYTES) == (86, 102)
    parsed = parse(bytes(range(1, 2)) + bytes(range(1, 102)))
    assert parsed.key_id == bytes(range(2, 18))
    assert parsed.key_version == int.from_bytes(bytes(range(18, 22)), "big")
    assert parsed.salt == bytes(range(22, 54))
    assert parsed.commitment == bytes(range(54, 86))


# tokens.md


@pytest.mark.parametrize("name", ["card", "ssn"])
def test_a_vaultless_token_is_the_one_on_the_page(name: str) -> None:
    row: dict[str, Any] = TOKENS[name]
    template = parse_template(row["template"])
    tokens = Vaultless(Secret(octets(row["key"])), row["tenant"], row["field"], template)
    assert tokens.tokenize(row["value"]) == row["token"]
    assert tokens.detokenize(row["token"]) == row["value"]
    shape = template.parse(row["value"])
    assert shape.kept_bytes() == octets(row["kept"])
    tweak = context.canonical(
        (
            (context.TAG_TENANT, row["tenant"].encode()),
            (context.TAG_FIELD, row["field"].encode()),
            (context.TAG_TEMPLATE, template.spec.encode() + template.version.to_bytes(2, "big")),
            (context.TAG_KEPT, octets(row["kept"])),
        )
    )
    assert tweak == octets(row["tweak"]) == tokens._tweak(shape)


def test_the_widest_tweak_is_as_wide_as_the_page_says() -> None:
    widths = (MAX_TENANT, MAX_FIELD, 64 + 2, 33)
    tweak = context.canonical((tag, bytes(width)) for tag, width in zip((2, 4, 6, 7), widths, strict=True))
    assert f"at most {len(tweak)} bytes" in text("tokens")


def test_an_opaque_token_is_the_one_on_the_page() -> None:
    row = TOKENS["opaque"]
    cipher = BlockCipher(Secret(octets(row["key"])))
    assert encode(cipher, RowId(octets(row["row"]))) == row["token"]
    assert decode(cipher, row["token"]) == octets(row["row"])


def test_a_claims_record_is_the_one_on_the_page() -> None:
    row = TOKENS["shaped"]
    assert claim_record(octets(row["row"]), row["surrogate"]) == octets(row["record"])
    assert claim_record(octets(row["row"]), None) == octets(row["row"])


def test_an_index_entry_is_the_one_on_the_page() -> None:
    row = TOKENS["entry"]
    key, layer = Secret(octets(row["key"])), BlockCipher(Secret(octets(row["layer"])))
    parts = ((context.TAG_TENANT, row["tenant"]), (context.TAG_FIELD, row["field"]))
    message = context.canonical(
        (*((tag, part.encode()) for tag, part in parts), (context.TAG_VALUE, row["value"].encode()))
    )
    assert message == octets(row["message"])
    assert reference(key, message) == octets(row["hmac"])
    index = BlindIndex(key, layer, row["tenant"], row["field"])
    assert index.entry(row["value"], None) == octets(row["entry"])
    assert index.entry(row["value"], octets(row["subject"])) == octets(row["entry_of_subject"])


# identifiers.md


def test_an_id_is_the_one_on_the_page() -> None:
    row = IDENTIFIERS["id"]
    assert format_id(row["prefix"], octets(row["bytes"])) == row["id"]
    assert parse_id(row["prefix"], row["id"]) == octets(row["bytes"])
    assert int.from_bytes(octets(row["bytes"])[:6], "big") == row["milliseconds"]


def test_a_credential_is_the_one_on_the_page() -> None:
    row = IDENTIFIERS["credential"]
    kind, body, secret = split_credential(row["credential"])
    assert (kind, f"{kind}_{body}") == (row["kind"], row["row"])
    assert secret_digest(secret) == octets(row["sha256"])
    assert decode_credential(row["credential"]) == (kind, row["row"], octets(row["sha256"]))


def test_the_table_of_prefixes_is_the_codes() -> None:
    rows = re.findall(r"^\| `([a-z]+)` \| (.+) \|$", text("identifiers"), re.MULTILINE)
    assert [name for name, _ in rows] == list(PREFIXES)
