"""Parts rewritten in place: the same bytes as parts that are taken out, for whatever the file holds."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.files.test_job import idle
from vault.crypto.texts import Bytes, Texts
from vault.files.job import run
from vault.files.plan import PARQUET, Plan, Turned

CELL = st.text(st.sampled_from('ab,"é;'), max_size=5) | st.from_regex("[0-9]{1,6}", fullmatch=True)


class Nines:
    """Digits become their complements to nine; what holds anything else is refused."""

    def turn(
        self,
        field: str,
        values: Sequence[str | None],
        subjects: Sequence[str | None] | None,
        key: str,
        versions: Sequence[str | None] | None = None,
    ) -> Turned:
        refused = {n: "value_alphabet" for n, one in enumerate(values) if one is not None and not digits(one)}
        made = [
            None if one is None or n in refused else "".join(str(9 - int(c)) for c in one)
            for n, one in enumerate(values)
        ]
        return Turned(made, refused)


class InPlace(Nines):
    """The same, in place where all are digits."""

    def __init__(self) -> None:
        self.rewritten = 0

    def rewrite(self, columns: Sequence[tuple[str, Texts, Bytes]]) -> dict[str, int] | None:
        for _, texts, out in columns:
            for start, length in zip(texts.starts.tolist(), texts.lengths.tolist(), strict=True):
                own = texts.data[start : start + length]
                if ((own < ord("0")) | (own > ord("9"))).any():
                    return None
                out[start : start + length] = np.uint8(2 * ord("0") + 9) - own
        self.rewritten += 1
        return {field: 1 for field, _, _ in columns}


def digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def both(folder: Path, name: str, plan: dict[str, Any], block: int) -> tuple[bytes, bytes, InPlace]:
    made = []
    in_place = InPlace()
    for transform in (Nines(), in_place):
        target, rejects = folder / f"out-{name}", folder / "rejects.csv"
        run(Plan(folder / name, target, rejects=rejects, **plan), transform, idle, block)
        made.append(target.read_bytes() + b"|" + rejects.read_bytes())
    return made[0], made[1], in_place


@given(
    st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=20),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.integers(20, 200),
)
@settings(deadline=None, max_examples=200)
def test_csv(rows: list[tuple[str, str, str]], quoting: int, end: str, ended: bool, block: int) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=quoting, lineterminator=end).writerows([("a", "b", "c"), *rows])  # type: ignore[arg-type]
    data = out.getvalue().encode()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "in.csv").write_bytes(data if ended else data.removesuffix(end.encode()))
        old, new, _ = both(folder, "in.csv", {"columns": (("a", "f"), ("c", "g"))}, block)
        assert new == old


def test_csv_with_other_scripts_in_other_columns_stays_in_place(tmp_path: Path) -> None:
    lines = ["id,city", *(f"{n:09d},Zürich" for n in range(1000))]
    (tmp_path / "in.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    old, new, transform = both(tmp_path, "in.csv", {"columns": (("id", "f"),)}, 1000)
    assert new == old
    assert transform.rewritten > 10


@given(
    st.lists(st.none() | CELL, min_size=1, max_size=30),
    st.integers(1, 30),
    st.sampled_from(["string", "large_string", "string_view"]),
)
@settings(deadline=None, max_examples=60)
def test_parquet(values: list[str | None], block: int, kind: str) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.table({"a": pa.array(values, getattr(pa, kind)()), "n": range(len(values))})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pq.write_table(table, folder / "in.parquet", row_group_size=7)
        both(folder, "in.parquet", {"columns": (("a", "f"),), "form": PARQUET}, block)
        wanted = [
            (value and "".join(str(9 - int(c)) for c in value), n)
            for n, value in enumerate(values)
            if value is None or digits(value)
        ]
        made = pq.read_table(folder / "out-in.parquet")
        assert list(zip(made["a"].to_pylist(), made["n"].to_pylist(), strict=True)) == wanted


def test_parquet_is_rewritten_in_place(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    values = [None if n % 3 == 0 else f"{n:05d}" for n in range(1000)]
    pq.write_table(pa.table({"a": values}), tmp_path / "in.parquet", row_group_size=300)
    _, _, transform = both(tmp_path, "in.parquet", {"columns": (("a", "f"),), "form": PARQUET}, 100)
    assert transform.rewritten == 10  # three of each row group of 300, and one
    made = pq.read_table(tmp_path / "out-in.parquet")["a"].to_pylist()
    assert made == [None if n % 3 == 0 else f"{99999 - n:05d}" for n in range(1000)]
