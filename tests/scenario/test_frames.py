"""Columns of data frames through a running service, from the libraries that people have them in.

The how-to page's blocks run as they stand, against the real Polars, pandas and DuckDB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import vault.client.columns
from tests.support.service import Service, running
from vault.client.frames import Frames
from vault.client.http import Client
from vault.errors import BadInput, CoatcheckError, Unauthenticated

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-with-data-frames.md"
SSN = "customer.ssn"
NAME = "customer.name"
VALUES = ["123-45-6789", None, "123456780", "078-05-1120"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("frames") / "deployment") as made:
        yield made


@pytest.fixture
def frames(service: Service) -> Iterator[Frames]:
    with closing(Frames(Client(service.url, "eu", service.credential()), batch=3)) as made:
        yield made


def grant(service: Service, *fields: str, operations: tuple[str, ...] = ("reveal",)) -> str:
    scope = [{"fields": fields, "operations": operations, "delivery": ["plain"]}]
    body = {"agent": "agent:demo", "purpose": "support", "scope": scope, "limits": {"uses": 50}}
    answer = service.call("POST", "grants", body)
    assert answer.status == 201, answer.body
    return str(answer.json()["credential"])


def test_the_page_works_as_it_stands(service: Service) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 6
    names: dict[str, Any] = {"service_key": service.credential(), "grant": grant(service, SSN)}
    found = {}
    for block in blocks:
        exec(block.replace("http://127.0.0.1:8700", service.url), names)
        for library in ("polars", "pandas", "duckdb"):
            if f"import {library}" in block:
                found[library] = names["tokens" if library == "duckdb" else "people"]
    for made in ("frames", "agent"):
        names[made].close()
    given = ["123-45-6789", "078-05-1120"]
    tokens = service.call("POST", "tokenize", {"field": SSN, "values": given}).json()["tokens"]
    assert found["polars"]["token"].to_list() == [tokens[0], None]
    assert found["pandas"]["token"].tolist() == tokens
    assert found["duckdb"] == [(tokens[0],), (tokens[1],)]
    assert names["tokens"].to_pylist() == tokens
    assert names["values"].to_pylist() == given


@pytest.mark.parametrize(
    "type_",
    [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string()), pa.string_view()],
    ids=str,
)
def test_whatever_arrow_calls_strings_is_taken(service: Service, frames: Frames, type_: pa.DataType) -> None:
    plain = pa.array(VALUES)
    array = plain.cast(type_) if not pa.types.is_dictionary(type_) else plain.dictionary_encode()
    tokens, version = frames.tokenize_with_version(array, SSN)
    assert version == 1
    assert tokens.type == pa.string()
    wanted = service.call("POST", "tokenize", {"field": SSN, "values": VALUES}).json()["tokens"]
    assert tokens.to_pylist() == wanted
    chunks = pa.chunked_array([array.slice(0, 1), array.slice(1, 0), array.slice(1)])
    assert frames.tokenize(chunks, SSN).to_pylist() == wanted


def test_nothing_is_asked_for_nulls(frames: Frames) -> None:
    for empty in (pa.array([], pa.string()), pa.array([None] * 7, pa.string()), pa.nulls(4)):
        tokens, version = frames.tokenize_with_version(empty, SSN)
        assert (tokens.null_count, len(tokens), version) == (len(empty), len(empty), None)


def test_people_go_with_their_values(service: Service, frames: Frames) -> None:
    values, people = ["Ada", "Eve", None, "Bob", "Cleo"], ["c1", "c2", "c3", None, "c5"]
    tokens, version = frames.tokenize_with_version(pa.array(values), NAME, pa.array(people))
    assert version is None
    with closing(Frames(Client(service.url, "eu", grant(service, NAME)), batch=2)) as agent:
        assert agent.detokenize(tokens, NAME, "support").to_pylist() == values
    with pytest.raises(BadInput, match="items_mismatch"):
        frames.tokenize(pa.array(values), NAME, pa.array(["c1"]))


def test_a_value_that_is_refused_is_told_by_its_place(frames: Frames) -> None:
    with pytest.raises(CoatcheckError) as refused:
        frames.tokenize(pa.array([*VALUES, "12-secret"]), SSN)
    assert refused.value.facts["errors"] == [{"index": 4, "code": "value_alphabet"}]
    assert "secret" not in repr(refused.value) + str(refused.value)


@pytest.mark.parametrize(
    "other", [pa.array([1, 2]), pa.array([b"a"]), [1, 2], ["123-45-6789"], "123", None, 7]
)
def test_other_columns_are_no_columns(frames: Frames, other: Any) -> None:
    with pytest.raises(TypeError, match="Arrow array of strings"):
        frames.tokenize(other, SSN)


def test_batches_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Fake:
        def request(self, _method: str, _path: str, body: dict[str, Any]) -> dict[str, Any]:
            asked.append(body["values"])
            return {"tokens": body["values"]}

    monkeypatch.setattr(vault.client.columns, "BATCH_BYTES", 100)
    values = [character * 40 for character in "abcde"] + ["f" * 500, None, "g"]
    made = Frames(Fake(), batch=7).tokenize(pa.array(values), "x")  # type: ignore[arg-type]
    assert made.to_pylist() == values
    assert [len(some) for some in asked] == [2, 2, 1, 1, 2]


def test_who_is_unknown_is_told_so(service: Service) -> None:
    with closing(Frames(Client(service.url, "eu", "ck_01M84HD64DFW18BYTQYF0BJRJQ_" + "a" * 43))) as other:
        with pytest.raises(Unauthenticated, match="credential_invalid"):
            other.tokenize(pa.array(VALUES), SSN)
        assert repr(other) == "<Frames>"
