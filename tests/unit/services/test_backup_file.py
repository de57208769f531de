"""Files of backups: every altered or missing byte is found, and nothing of them can be put together anew."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import msgspec
import pytest

from vault.errors import IntegrityError
from vault.keyring.hierarchy import Epoch, make_epoch
from vault.secret import Secret
from vault.services.backup_file import Header, Writer, frames, read_header, read_whole

EPOCH_ID = bytes(range(16))
TABLES = {"custody": "tokens", "record": "grants", "values": "claims"}
ROWS = [[[b"k" * 16, 1, "a", None]], [[b"l" * 16, 2, "b", None], [b"m" * 16, 3, "c", 7]], [[b"n", 4, "d", 0]]]
PARTS = [*TABLES]


def epoch(number: int = 2, half: bytes = b"\1" * 32) -> Epoch:
    return make_epoch("eu", number, EPOCH_ID, Secret(half), Secret(b"\2" * 32))


def header(part: str, **changed: object) -> Header:
    made = Header(
        v=2, part=part, set="0" * 32, region="eu", epoch=2, epoch_id=EPOCH_ID, half=b"h", canary=b"c",
        revision="0006", at="2026-11-30T12:00:00.000000Z", events=9,
        tables={TABLES[part]: ["id", "n", "text", "maybe"]},
    )  # fmt: skip
    return msgspec.structs.replace(made, **changed)


def of(part: str) -> Epoch | None:
    return None if part == "values" else epoch()


def made(part: str, **changed: object) -> bytes:
    file = BytesIO()
    writer = Writer(file, header(part, **changed), of(part))
    for rows in ROWS:
        writer.rows(TABLES[part], rows)
    assert writer.end() == 4
    return file.getvalue()


@pytest.mark.parametrize("part", PARTS)
def test_what_was_written_is_read(tmp_path: Path, part: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(made(part))
    assert read_header(path) == header(part)
    assert [rows for _, rows in frames(path, of(part))] == ROWS
    assert read_whole(path, of(part)) == {TABLES[part]: 4}


@pytest.mark.parametrize("part", PARTS)
def test_every_altered_byte_is_found(tmp_path: Path, part: str) -> None:
    path, raw = tmp_path / "file", made(part)
    for at in range(len(raw)):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        with pytest.raises(IntegrityError, match="backup_invalid"):
            read_whole(path, of(part))


@pytest.mark.parametrize("part", PARTS)
def test_every_cut_is_found(tmp_path: Path, part: str) -> None:
    path, raw = tmp_path / "file", made(part)
    for end in range(len(raw)):
        path.write_bytes(raw[:end])
        with pytest.raises(IntegrityError, match="backup_invalid"):
            read_whole(path, of(part))
    path.write_bytes(raw + b"\0")
    with pytest.raises(IntegrityError, match="backup_invalid"):
        read_whole(path, of(part))


def pieces(raw: bytes) -> tuple[bytes, list[bytes]]:
    """A file as its head and its frames, each with its length."""
    at = 8 + 4 + int.from_bytes(raw[8:12], "big")
    head, found = raw[:at], []
    while at < len(raw):
        end = at + 4 + int.from_bytes(raw[at : at + 4], "big")
        found.append(raw[at:end])
        at = end
    return head, found


@pytest.mark.parametrize("part", PARTS)
def test_frames_cannot_be_left_out_turned_round_or_taken_from_another_file(tmp_path: Path, part: str) -> None:
    path, raw = tmp_path / "file", made(part)
    head, those = pieces(raw)
    other_head, others = pieces(made(part, events=10))
    for chosen in (
        [*those[:1], *those[2:]], [those[1], those[0], *those[2:]], those[:-1], [*those[:2], *others[2:]],
        [*those, those[-1]],
    ):  # fmt: skip
        path.write_bytes(head + b"".join(chosen))
        with pytest.raises(IntegrityError, match="backup_invalid"):
            read_whole(path, of(part))
    path.write_bytes(other_head + b"".join(those))
    with pytest.raises(IntegrityError, match="backup_invalid"):
        read_whole(path, of(part))


def test_another_epochs_key_or_another_part_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(made("custody"))
    for other in (epoch(half=b"\3" * 32), epoch(3), None):
        with pytest.raises(IntegrityError, match="backup_invalid"):
            read_whole(path, other)
    swapped = made("record").replace(b"CKRECD1\n", b"CKCUST1\n")
    path.write_bytes(swapped)
    with pytest.raises(IntegrityError, match="backup_invalid"):
        read_whole(path, epoch())
