"""encrypt and decrypt: a ciphertext opens in its own field, record, person and tenant, and nowhere else."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from msgspec import UnsetType

from tests.support.cells import SSN, TEXT, VISIT, BuiltCell
from tests.unit.services.asking import codes, left
from vault.clock import DAY, SECOND, FixedClock
from vault.envelope.message import from_text, to_text
from vault.errors import BadInput, Denied
from vault.services.batch import BatchRefused
from vault.services.decrypt import DecryptAnswer, DecryptBody, DecryptItem, decrypt
from vault.services.detokenize import DetokenizeBody, DetokenizeItem, ValueItem, detokenize
from vault.services.encrypt import EncryptBody, EncryptItem, encrypt
from vault.services.tokenize import TokenizeBody, tokenize

VALUE = "Grüße, Ada"


def items(answer: DecryptAnswer) -> list[ValueItem]:
    assert answer.items is not None
    return answer.items


@pytest.mark.parametrize(
    "members", [{}, {"record": "row 7"}, {"subject": "c1"}, {"subject": "c1", "record": "r"}]
)
def test_a_value_comes_back(built: BuiltCell, members: dict[str, str]) -> None:
    text = built.ciphertext(TEXT, VALUE, **members)
    assert text.startswith("ve1.")
    assert built.decrypt(built.grant(TEXT), TEXT, text, **members) == [VALUE]


def test_two_ciphertexts_of_one_value_differ(built: BuiltCell) -> None:
    made = [built.ciphertext(TEXT, VALUE, subject="c1") for _ in range(2)]
    assert made[0] != made[1]
    heads = {from_text(text)[:22] for text in made}
    assert len(heads) == 1  # one key of this person, class and due period


def test_every_other_context_is_refused_with_one_code(built: BuiltCell) -> None:
    """All pairs of (field, record) crossed: only the one it was made in opens."""
    contexts = list(itertools.product((TEXT, VISIT), (None, "a", "b", "ab", " a")))
    made = {
        context: built.ciphertext(
            context[0], VALUE, subject="c1", **({} if context[1] is None else {"record": context[1]})
        )
        for context in contexts
    }
    grant = built.grant(TEXT, VISIT, operations=["reveal"], uses=len(contexts) ** 2, purpose="files")
    opened = 0
    for there, text in made.items():
        for field, record in contexts:
            item = DecryptItem(field, text, record=record)
            body = DecryptBody("files", [item], on_error="report")
            shown = items(built.run(decrypt, body, by=grant))[0]
            if (field, record) == there:
                assert shown.value == VALUE
                opened += 1
            else:
                assert getattr(shown.error, "code", None) == "ciphertext_invalid"
    assert opened == len(contexts)
    assert left(built, grant) == 0


def test_a_person_named_must_be_the_keys(built: BuiltCell) -> None:
    ours, theirs = (built.ciphertext(TEXT, VALUE, subject=name) for name in ("c1", "c2"))
    anybody = built.grant(TEXT, uses=5)
    assert built.decrypt(anybody, TEXT, ours, theirs) == [VALUE, VALUE]
    with pytest.raises(BatchRefused, match="ciphertext_invalid"):
        built.decrypt(anybody, TEXT, ours, subject="c2")
    limited = built.grant(TEXT, subjects=["c1"], uses=5)
    assert built.decrypt(limited, TEXT, ours) == [VALUE]
    with pytest.raises(BatchRefused) as refusal:
        built.decrypt(limited, TEXT, ours, theirs)
    assert codes(refusal.value) == {1: "ciphertext_invalid"}
    nobodys = built.ciphertext(TEXT, VALUE)
    with pytest.raises(BatchRefused, match="ciphertext_invalid"):
        built.decrypt(limited, TEXT, nobodys)


def test_whatever_is_wrong_with_a_ciphertext_is_one_error_and_costs_a_use(built: BuiltCell) -> None:
    text = built.ciphertext(TEXT, VALUE)
    raw = bytearray(from_text(text))
    bad = ["", "ve1.", "ve1.AAAA", text[:-1], text + "A", text.upper(), "ve2." + text[4:], text + "="]
    for place in (0, 1, 2, 18, 22, 54, 86, -1):
        flipped = bytearray(raw)
        flipped[place] ^= 1
        bad.append(to_text(bytes(flipped)))
    grant = built.grant(TEXT, uses=len(bad) + 1)
    body = DecryptBody("support", [DecryptItem(TEXT, one) for one in [*bad, text]], on_error="report")
    answer = built.run(decrypt, body, by=grant)
    assert [getattr(item.error, "code", item.value) for item in items(answer)] == [
        *["ciphertext_invalid"] * len(bad),
        VALUE,
    ]
    assert answer.failed == len(bad)
    assert left(built, grant) == 0


def test_another_tenants_ciphertext_is_unknown(built: BuiltCell) -> None:
    other = built.another_tenant("other")
    text = other.ciphertext(TEXT, VALUE)
    with pytest.raises(BatchRefused, match="ciphertext_invalid"):
        built.decrypt(built.grant(TEXT), TEXT, text)
    assert other.decrypt(other.grant(TEXT), TEXT, text) == [VALUE]


def test_a_claim_is_no_ciphertext(built: BuiltCell) -> None:
    """The use label keeps apart what is sealed under one data key."""
    built.token("customer.name", VALUE, "c1")
    with built.cell.store.engine.connect() as connection:
        sealed = connection.exec_driver_sql("SELECT sealed FROM va_claims").scalar_one()
    for field in (TEXT, VISIT):
        with pytest.raises(BatchRefused, match="ciphertext_invalid"):
            built.decrypt(built.grant(field, operations=["reveal"]), field, to_text(bytes(sealed)))


def test_masks_apply(built: BuiltCell) -> None:
    text = built.ciphertext(VISIT, "Lovelace", subject="c1")
    grant = built.grant(VISIT, operations=["mask"])
    body = DecryptBody("support", [DecryptItem(VISIT, text)], operation="mask", mask="start")
    assert [item.value for item in items(built.run(decrypt, body, by=grant))] == ["Lo***"]


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (EncryptItem(TEXT, "x" * 1001), "value_length"),
        (EncryptItem(TEXT, "é" * 501), "value_length"),
        (EncryptItem(TEXT, "\ud800"), "value_alphabet"),
        (EncryptItem(VISIT, "x"), "subject_required"),
        (EncryptItem(TEXT, "x", subject=""), "subject_invalid"),
        (EncryptItem(TEXT, "x", record=""), "record_invalid"),
        (EncryptItem(TEXT, "x", record="a\x00b"), "record_invalid"),
        (EncryptItem(TEXT, "x", record="é" * 129), "record_invalid"),
        (EncryptItem(TEXT, "x", record="\udfff"), "record_invalid"),
    ],
)
def test_what_cannot_be_encrypted(built: BuiltCell, item: EncryptItem, code: str) -> None:
    before = built.next_number
    with pytest.raises(BatchRefused, match=code):
        built.run(encrypt, EncryptBody([EncryptItem(TEXT, "good"), item]))
    assert built.next_number == before
    answer = built.run(encrypt, EncryptBody([EncryptItem(TEXT, "good"), item], on_error="report"))
    assert answer.failed == 1
    assert getattr(answer.items[1].error, "code", None) == code
    assert str(answer.items[0].ciphertext).startswith("ve1.")


def test_an_empty_text_and_null_are_told_apart(built: BuiltCell) -> None:
    made = built.run(encrypt, EncryptBody([EncryptItem(TEXT, ""), EncryptItem(TEXT, None)]))
    assert made.items[1].ciphertext is None
    texts = [one.ciphertext for one in made.items if not isinstance(one.ciphertext, UnsetType)]
    asked = [DecryptItem(TEXT, text) for text in texts]
    grant = built.grant(TEXT, uses=1)
    shown = built.run(decrypt, DecryptBody("support", asked), by=grant)
    assert [item.value for item in items(shown)] == ["", None]


def test_each_verb_keeps_to_its_protections(built: BuiltCell) -> None:
    with pytest.raises(BadInput, match="operation_unsupported"):
        built.run(tokenize, TokenizeBody(field=TEXT, values=["x"]), by=service_for(built, f"tokenize:{TEXT}"))
    with pytest.raises(BadInput, match="operation_unsupported"):
        built.run(
            encrypt, EncryptBody([EncryptItem(SSN, "123-45-6789")]), by=service_for(built, f"encrypt:{SSN}")
        )
    text, token = built.ciphertext(TEXT, VALUE), built.token(SSN, "123-45-6789")
    with pytest.raises(BatchRefused, match="operation_unsupported"):
        built.run(
            detokenize, DetokenizeBody("support", items=[DetokenizeItem(TEXT, text)]), by=built.grant(TEXT)
        )
    with pytest.raises(BatchRefused, match="operation_unsupported"):
        built.run(decrypt, DecryptBody("support", [DecryptItem(SSN, token)]), by=built.grant(SSN))


def service_for(built: BuiltCell, *permissions: str) -> str:
    return built.principal("service", f"for-{len(built.events())}", permissions=list(permissions))[1]


def test_it_takes_the_permission_of_the_field(built: BuiltCell) -> None:
    with pytest.raises(Denied, match="permission_denied"):
        built.run(encrypt, EncryptBody([EncryptItem(TEXT, "x")]), by=service_for(built, f"encrypt:{VISIT}"))


def test_the_log_holds_counts_and_keys_not_values(built: BuiltCell) -> None:
    first = built.next_number
    text = built.ciphertext(TEXT, VALUE, record="row 7", subject="c1")
    built.decrypt(built.grant(TEXT), TEXT, text, record="row 7")
    made = [event for event in built.events(first) if event["kind"] in ("encrypt", "decrypt")]
    assert [event["kind"] for event in made] == ["encrypt", "decrypt"]
    assert made[0]["fields"] == [{"field": TEXT, "protection": "encrypted", "values": 1}]
    assert (made[1]["charged"], made[1]["outcome"]) == (1, "allowed")
    for hidden in (VALUE, "row 7", text):
        assert hidden not in str(made)


class TestADateThatMoves:
    """One key a person and class, whose date is later with every use."""

    def due(self, built: BuiltCell) -> list[tuple[Any, ...]]:
        with built.cell.store.engine.connect() as connection:
            return [
                tuple(row)
                for row in connection.exec_driver_sql(
                    "SELECT due, due_at FROM cu_data_keys WHERE class = 'visit' ORDER BY id"
                )
            ]

    def test_by_sealing_and_by_use(self, ticking: BuiltCell, clock: FixedClock) -> None:
        text = ticking.ciphertext(VISIT, VALUE, subject="c1")
        ((period, first),) = self.due(ticking)
        assert period == ""
        assert first > clock.now() + 30 * DAY - SECOND
        grant = ticking.grant(VISIT, operations=["reveal"], uses=5)
        ticking.decrypt(grant, VISIT, text)
        assert self.due(ticking) == [("", first)]  # the same day: nothing to write
        clock.advance(2 * DAY)
        grant = ticking.grant(VISIT, operations=["reveal"], uses=5)
        ticking.decrypt(grant, VISIT, text)
        assert self.due(ticking) == [("", first + 2 * DAY)]
        clock.advance(DAY)
        ticking.ciphertext(VISIT, VALUE, subject="c1")
        assert self.due(ticking) == [("", first + 3 * DAY)]

    def test_nor_does_a_batch_that_shows_nothing(self, ticking: BuiltCell, clock: FixedClock) -> None:
        text = ticking.ciphertext(VISIT, VALUE, subject="c1")
        before = self.due(ticking)
        clock.advance(2 * DAY)
        items = [DecryptItem(VISIT, text), DecryptItem(VISIT, "ve1.AAAA")]
        grant = ticking.grant(VISIT, operations=["reveal"], uses=5)
        with pytest.raises(BatchRefused, match="ciphertext_invalid"):
            ticking.run(decrypt, DecryptBody("support", items), by=grant)
        assert self.due(ticking) == before
        ticking.run(decrypt, DecryptBody("support", items, on_error="report"), by=grant)
        assert self.due(ticking) > before

    def test_a_use_that_is_refused_moves_nothing(self, ticking: BuiltCell, clock: FixedClock) -> None:
        text = ticking.ciphertext(VISIT, VALUE, subject="c1")
        before = self.due(ticking)
        clock.advance(2 * DAY)
        grant = ticking.grant(VISIT, subjects=["c2"], operations=["reveal"])
        with pytest.raises(BatchRefused):
            ticking.decrypt(grant, VISIT, text)
        assert self.due(ticking) == before
