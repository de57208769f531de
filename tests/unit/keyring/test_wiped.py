"""Keys that were let go of: every verb that needs one says so and does nothing, until they are held again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cells import EMAIL, HANDLE, NAME, SSN, TEXT, development_cell
from vault.errors import Unavailable
from vault.services.audit import verify
from vault.services.grants import create_grant
from vault.services.tokenize import TokenizeBody, tokenize

PERSON = "Ada Lovelace"
MAIL = "ada@example.com"
NUMBER = "512-64-3917"


def test_nothing_is_opened_or_sealed_and_nothing_charged(tmp_path: Path) -> None:
    with development_cell(tmp_path) as built:
        tokens = {
            NAME: built.token(NAME, PERSON, "p"),
            SSN: built.token(SSN, NUMBER),
            EMAIL: built.token(EMAIL, MAIL, "p"),
            HANDLE: built.token(HANDLE, "handle", "p"),
        }
        ciphertext = built.ciphertext(TEXT, "text")
        grant = built.grant(*tokens, TEXT, uses=5)
        epochs = {epoch.number: epoch for epoch in built.cell.keyring.epochs}
        built.cell.keyring.wipe()
        before = built.next_number
        tries: list[Callable[[], object]] = [
            lambda: built.token(NAME, PERSON, "another"),
            lambda: built.token(SSN, NUMBER),
            lambda: built.token(EMAIL, MAIL, "p"),
            lambda: built.token(HANDLE, "other", "p"),
            lambda: built.ciphertext(TEXT, "text"),
            lambda: built.decrypt(grant, TEXT, ciphertext),
            lambda: built.run(tokenize, TokenizeBody(field=NAME, values=[PERSON]), once="key"),
            lambda: built.run(create_grant, built.grant_body(NAME, subjects=["p"])),
            *(lambda field=field: built.reveal(grant, field, tokens[field]) for field in tokens),
        ]
        for attempt in tries:
            with pytest.raises(Unavailable) as refused:
                attempt()
            assert refused.value.code == "key_unavailable"
        assert built.next_number - before <= 1
        built.cell.keyring.hold(epochs)
        assert built.reveal(grant, NAME, tokens[NAME]) == [PERSON]
        assert built.token(EMAIL, MAIL, "p") == tokens[EMAIL]
        assert built.decrypt(grant, TEXT, ciphertext) == ["text"]
        verify(built.cell.store)
        assert built.token(NAME, PERSON, "p")
