"""Which form of an answer a client wants."""

from __future__ import annotations

import pytest

from vault.api.accept import wanted

BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (b"", "json"),
        (b"*/*", "json"),
        (b"application/json", "json"),
        (b"application/*", "json"),
        (b"text/csv", "csv"),
        (b"Text/CSV ; charset=utf-8", "csv"),
        (b"text/html", "html"),
        (BROWSER, "html"),
        (b"text/*", "csv"),
        (b"text/*, text/csv;q=0.5", "html"),
        (b"text/csv;q=0.5, text/html;q=0.6, application/json;q=0.4", "html"),
        (b"text/csv;q=0.6, */*;q=0.5", "csv"),
        (b"text/csv;q=0, text/html;q=0", "json"),
        (b"application/json;q=0, */*", "csv"),
        (b"text/csv, application/json", "json"),  # liked as well: the default
        (b"image/png", "json"),
        (b"text/csv;q=2", "json"),  # no weight
        (b"text/csv;q=nan, text/html;q=inf", "json"),
        (b"text/csv;q=", "json"),
        (b",;q=;,,", "json"),
        (b"\xff\x00", "json"),
        (b",".join([b"a/b"] * 100) + b",text/csv", "json"),  # too many to be looked at
    ],
)
def test_the_form_that_is_wanted(accept: bytes, form: str) -> None:
    assert wanted(accept) == form
