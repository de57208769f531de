"""A second reader of backups and of the log of what was erased, from docs/spec/backups.md alone.

It shares no code with the package. MessagePack is read by hand; frames are opened by the second decoder of
`ve1`. Read it beside the page.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from tests.vectors import second_decoder

PARTS = {b"CKCUST1\n": "custody", b"CKRECD1\n": "record", b"CKVALS1\n": "values"}
MEMBERS = {
    "v", "part", "set", "region", "epoch", "epoch_id", "half", "canary", "revision", "at", "events", "tables",
    "values",
}  # fmt: skip
NUMBERS = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4}
TEXTS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
LISTS = {0xDC: 2, 0xDD: 4}


class Invalid(Exception):
    """The file cannot be used."""

    failure = "backup_invalid"


class Damaged(Exception):
    """The log cannot be used."""

    failure = "integrity_failed"


class Reader:
    """Bytes from front to back."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 0

    def take(self, count: int) -> bytes:
        taken = self.raw[self.at : self.at + count]
        if len(taken) != count:
            raise Invalid
        self.at += count
        return taken

    def number(self, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "big", signed=signed)

    def sized(self) -> bytes:
        """A piece behind its length."""
        return self.take(self.number(4))

    def value(self) -> Any:
        """A value of MessagePack: of the kinds that a row has."""
        kind = self.number(1)
        if kind < 0x80 or kind >= 0xE0:
            return kind if kind < 0x80 else kind - 256
        if kind == 0xC0:
            return None
        if kind in NUMBERS:
            return self.number(NUMBERS[kind], signed=kind >= 0xD0)
        if kind in BYTES:
            return self.take(self.number(BYTES[kind]))
        if kind in TEXTS or 0xA0 <= kind < 0xC0:
            return self.text(kind - 0xA0 if kind < 0xC0 else self.number(TEXTS[kind]))
        if kind in LISTS or 0x90 <= kind < 0xA0:
            count = kind - 0x90 if kind < 0xA0 else self.number(LISTS[kind])
            return [self.value() for _ in range(count)]
        raise Invalid

    def text(self, size: int) -> str:
        raw = self.take(size)
        if raw.decode("utf-8", "replace").encode() != raw:
            raise Invalid
        return raw.decode("utf-8")


def read_file(
    raw: bytes, part: str, key: bytes, region: str, epoch: int, epoch_id: bytes
) -> list[tuple[str, list[Any]]]:
    """The frames of a file but the last, each a table's name and rows of it; `part` is which it is to be."""
    reader = Reader(raw)
    magic, written = reader.take(8), reader.sized()
    header = read_header(magic, written, part)
    if part != "values" and (header["region"], header["epoch"]) != (region, epoch):
        raise Invalid
    backup_key = hmac.new(key, b"coatcheck/epoch-backup/" + b"\x01", "sha256").digest()
    bound, check = hashlib.sha256(written).digest(), hashlib.sha256(magic + written).digest()
    frames: list[tuple[str, list[Any]]] = []
    counted: dict[str, int] = {}
    while True:
        frame = reader.sized()
        last = reader.at == len(raw)
        place = len(frames).to_bytes(4, "big") + (b"\x01" if last else b"\x00")
        if part == "values":
            rows = frame[32:]
            check = hashlib.sha256(check + place + rows).digest()
            if frame[:32] != check:
                raise Invalid
        else:
            rows = opened(backup_key, epoch_id, epoch, region, part, bound + place, frame)
        table, listed = read_rows(rows)
        if last:
            if table != "" or listed != [[name, count] for name, count in counted.items()]:
                raise Invalid
            return frames
        check_rows(header["tables"], table, listed)
        counted[table] = counted.get(table, 0) + len(listed)
        frames.append((table, listed))


def read_header(magic: bytes, written: bytes, part: str) -> dict[str, Any]:
    """The header of a file of a part."""
    if PARTS.get(magic) != part:
        raise Invalid
    try:
        header = json.loads(written)
    except ValueError:
        raise Invalid from None
    if header.keys() != MEMBERS or header["v"] != 2 or header["part"] != part:
        raise Invalid
    return dict(header)


def opened(
    key: bytes, epoch_id: bytes, epoch: int, region: str, part: str, record: bytes, raw: bytes
) -> bytes:
    """What a sealed frame holds."""
    context = {"use": f"{part} backup", "tenant": "", "region": region, "field": None, "record": record.hex()}
    try:
        return second_decoder.open_ve1(key, epoch_id, epoch, context, raw)
    except second_decoder.Refused:
        raise Invalid from None


def read_rows(plain: bytes) -> tuple[str, list[Any]]:
    """A frame's table and rows."""
    reader = Reader(plain)
    pair = reader.value()
    if (
        reader.at != len(plain)
        or not isinstance(pair, list)
        or len(pair) != 2
        or not isinstance(pair[1], list)
    ):
        raise Invalid
    return pair[0], pair[1]


def check_rows(tables: dict[str, list[str]], table: str, rows: list[Any]) -> None:
    """Each row has a value for each column of its table."""
    if table not in tables or not all(isinstance(row, list) for row in rows):
        raise Invalid
    if not all(len(row) == len(tables[table]) for row in rows):
        raise Invalid


def read_log(raw: bytes, region: str) -> list[tuple[bytes, int, int]]:
    """Key, number and time of each entry of a log."""
    head = b"CKERAS1\n" + hashlib.sha256(region.encode("utf-8")).digest()
    if raw[:40] != head[: len(raw)]:
        raise Damaged
    check, entries = hashlib.sha256(head).digest(), []
    for at in range(40, len(raw) - 63, 64):
        said = raw[at : at + 32]
        check = hashlib.sha256(check + said).digest()
        if raw[at + 32 : at + 64] != check:
            if any(raw[at:]):
                raise Damaged
            break
        entries.append((said[:16], int.from_bytes(said[16:24], "big"), int.from_bytes(said[24:], "big")))
    return entries
