"""The vectors of backups: files of each part and logs of what was erased, sound and with one defect each.

A writer of its own makes them, step by step as on docs/spec/backups.md. Frames are sealed by the writer of
`made_ve1`, so a defect can lie in what is sealed: then all that seals it is sound.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.vectors import made_ve1

Vector = dict[str, Any]
Rows = list[Any]
PAGE = "docs/spec/backups.md"
COMPARED = ("part", "key", "region", "epoch", "epoch_id", "file", "log")

KEY = bytes(range(0x40, 0x60))
EPOCH_ID = bytes.fromhex("019ab0f1c2d37e4f8a5b6c7d8e9fa0b1")
MAGIC = {"custody": b"CKCUST1\n", "record": b"CKRECD1\n", "values": b"CKVALS1\n"}
TABLES = {
    "custody": {"data_keys": ["id", "state", "epoch", "sealed"], "subjects": ["id", "listed"]},
    "record": {"grants": ["id", "state"]},
    "values": {"claims": ["tenant", "token", "sealed"]},
}
FRAMES: dict[str, list[tuple[str, Rows]]] = {
    "custody": [
        ("data_keys", [[b"k" * 16, "active", 2, b"\x00\xff"], [b"l" * 16, "deactivated", 2**32, None]]),
        ("data_keys", [[b"m" * 16, "größe", -1, b""]]),
        ("subjects", [[b"s" * 16, 1_795_442_400_000_000]]),
    ],
    "record": [("grants", [["gr_1", "active"]])],
    "values": [("claims", [["main", b"t" * 16, b"v" * 256]]), ("claims", [["main", b"u" * 16, b""]])],
}


def pack(value: Any) -> bytes:
    """MessagePack, each value in its shortest form."""
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        return number(value)
    if isinstance(value, bytes):
        return sized(len(value), b"\xc4\xc5\xc6") + value
    if isinstance(value, str):
        raw = value.encode()
        return (bytes((0xA0 + len(raw),)) if len(raw) < 32 else sized(len(raw), b"\xd9\xda\xdb")) + raw
    if isinstance(value, dict):
        return bytes((0x80 + len(value),)) + b"".join(pack(one) for item in value.items() for one in item)
    many = len(value)
    head = bytes((0x90 + many,)) if many < 16 else b"\xdc" + many.to_bytes(2, "big")
    return head + b"".join(map(pack, value))


def number(value: int) -> bytes:
    if -32 <= value < 128:
        return value.to_bytes(1, "big", signed=value < 0)
    for kind, size in zip(
        b"\xcc\xcd\xce\xcf" if value > 0 else b"\xd0\xd1\xd2\xd3", (1, 2, 4, 8), strict=True
    ):
        try:
            return bytes((kind,)) + value.to_bytes(size, "big", signed=value < 0)
        except OverflowError:
            continue
    raise OverflowError


def sized(size: int, kinds: bytes) -> bytes:
    wide = 0 if size < 256 else 1 if size < 65_536 else 2
    return kinds[wide : wide + 1] + size.to_bytes((1, 2, 4)[wide], "big")


def header(part: str, **changed: Any) -> Vector:
    """What a file says in the clear, its members in the page's order."""
    made = {
        "v": 2,
        "part": part,
        "set": "019ab0f1c2d37e4f8a5b6c7d8e9fa0b2",
        "region": "eu",
        "epoch": 2,
        "epoch_id": base64.b64encode(EPOCH_ID).decode(),
        "half": base64.b64encode(b"a wrapped half").decode(),
        "canary": base64.b64encode(b"a canary").decode(),
        "revision": "0008",
        "at": "2026-11-30T15:56:04.423425Z",
        "events": 9,
        "tables": TABLES[part],
        "values": None,
    }
    return {**made, **changed}


def counts(frames: list[tuple[str, Rows]]) -> Rows:
    """What the last frame holds."""
    counted: dict[str, int] = {}
    for table, rows in frames:
        counted[table] = counted.get(table, 0) + len(rows)
    return [list(item) for item in counted.items()]


class Steps(NamedTuple):
    """How a file is written; the defaults are those of the page."""

    magic: Callable[[bytes], bytes] = lambda magic: magic
    raw: Callable[[bytes], bytes] = lambda raw: raw  # the header, before it is bound
    length: Callable[[int], bytes] = lambda size: size.to_bytes(4, "big")
    plain: Callable[[list[bytes]], list[bytes]] = lambda frames: frames
    label: bytes = b"coatcheck/epoch-backup/"
    use: str | None = None
    region: str = "eu"
    tenant: str = ""
    place: Callable[[int, bool], bytes] = lambda index, last: index.to_bytes(4, "big") + bytes((last,))
    bound: Callable[[bytes], bytes] = lambda raw: hashlib.sha256(raw).digest()
    start: Callable[[bytes, bytes], bytes] = lambda magic, raw: hashlib.sha256(magic + raw).digest()
    link: Callable[[bytes, bytes, bytes], bytes] = lambda check, place, plain: hashlib.sha256(
        check + place + plain
    ).digest()


def frames_of(part: str, last: tuple[str, Rows] | None = None, *more: tuple[str, Rows]) -> list[bytes]:
    """What each frame of a file holds."""
    frames = [*FRAMES[part], *more]
    return [pack([*one]) for one in (*frames, last or ("", counts(frames)))]


def write(part: str, head: Vector | None = None, frames: list[bytes] | None = None, **other: Any) -> bytes:
    """A file; `other` replaces steps."""
    steps = Steps(**other)
    raw = steps.raw(json.dumps(head or header(part), separators=(",", ":"), ensure_ascii=False).encode())
    magic = steps.magic(MAGIC[part])
    out = magic + steps.length(len(raw)) + raw
    plains = steps.plain(frames_of(part) if frames is None else frames)
    key = hmac.new(KEY, steps.label + b"\x01", "sha256").digest()
    check = steps.start(magic, raw)
    for index, plain in enumerate(plains):
        place = steps.place(index, index == len(plains) - 1)
        if part == "values":
            check = steps.link(check, place, plain)
            frame = check + plain
        else:
            context = {
                "use": steps.use or f"{part} backup",
                "tenant": steps.tenant,
                "region": steps.region,
                "field": None,
                "record": (steps.bound(raw) + place).hex(),
            }
            frame = made_ve1.write(context, plain, 2, key_id=EPOCH_ID, prk=lambda _: key)
        out += steps.length(len(frame)) + frame
    return out


def file(part: str, raw: bytes) -> Vector:
    """A file, and whose it is to be."""
    return {
        "part": part, "key": KEY.hex(), "region": "eu", "epoch": 2, "epoch_id": EPOCH_ID.hex(),
        "file": raw.hex(),
    }  # fmt: skip


def shown(value: Any) -> Any:
    """Rows with their bytes in hex."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return [shown(one) for one in value] if isinstance(value, list) else value


ERASED = [(bytes((one,)) * 16, 100 * one, 1_795_442_400_000_000 + one) for one in (1, 2, 3)]
LOG_MAGIC = b"CKERAS1\n"


def log(entries: Any = ERASED, region: str = "eu", magic: bytes = LOG_MAGIC, **other: Any) -> bytes:
    """A log of what was erased; `other` replaces how it begins (`first`) and goes on (`link`)."""
    out = magic + hashlib.sha256(region.encode()).digest()
    check = other.get("first", lambda head: hashlib.sha256(head).digest())(out)
    for key, events, at in entries:
        said = key + events.to_bytes(8, "big") + at.to_bytes(8, "big")
        check = other.get("link", lambda check, said: hashlib.sha256(check + said).digest())(check, said)
        out += said + check
    return out


def sound_log(name: str, raw: bytes, entries: Any) -> Vector:
    shown = [[key.hex(), events, at] for key, events, at in entries]
    return {"name": name, "region": "eu", "log": raw.hex(), "entries": shown}


def valid() -> Iterator[Vector]:
    """Each part, with and without rows; logs that were cut off while an entry was written."""
    for part, frames in FRAMES.items():
        rows = [[table, shown(those)] for table, those in frames]
        yield {"name": part, **file(part, write(part)), "rows": rows}
        empty = write(part, frames=[pack(["", []])])
        yield {"name": f"{part} without rows", **file(part, empty), "rows": []}
    beside = {"name": "values-eu-000002-20261130T155604.423425Z-8e9fa0b2.ckv", "sha256": "0" * 64, "rows": 2}
    named = write("custody", header("custody", values=beside, canary=None))
    rows = [[table, shown(those)] for table, those in FRAMES["custody"]]
    yield {"name": "custody that names its values", **file("custody", named), "rows": rows}
    yield sound_log("a log", log(), ERASED)
    yield sound_log("a log without entries", log(()), ())
    yield sound_log("a log whose head was cut off", log()[:39], ())
    yield sound_log("no log at all", b"", ())
    for cut in (1, 32, 63):
        yield sound_log(f"a log whose last entry lacks {cut} bytes", log()[:-cut], ERASED[:2])
    yield sound_log("a log with room made behind it", log() + bytes(4096), ERASED)
    yield sound_log("a log with room for less than an entry", log() + bytes(63), ERASED)


def defective() -> Iterator[Vector]:
    """One defect each."""
    for part in FRAMES:
        good = write(part)

        def bad(name: str, raw: bytes = good, of: str = part, **changed: Any) -> Vector:
            asked = {**file(of, raw), **changed}
            return {"defect": f"{of}: {name}", "class": "backup_invalid", "of": of, **asked}

        if part != "record":  # which is as custody is
            for name, raw in damages(part, good):
                yield bad(name, raw)
            for name, frames in contents(part):
                yield bad(f"rows: {name}", write(part, frames=frames))
        for name, head in headers(part):
            yield bad(f"header: {name}", write(part, head))
        for name, other in (sealings if part != "values" else chains)():
            yield bad(f"writer: {name}", write(part, **other))
        for whose in FRAMES:
            if (whose == "values") is not (part == "values"):
                yield bad(f"asked for as {whose}", part=whose)
        if part != "values":
            yield bad("another epoch's key", key=(KEY[:-1] + b"\xff").hex())
            yield bad("another epoch by its number", epoch=3)
            yield bad("another epoch by its id", epoch_id=(EPOCH_ID[:-1] + b"\0").hex())
            yield bad("another region", region="us")
    yield from bad_logs()


def pieces(good: bytes) -> tuple[bytes, list[bytes]]:
    """A file as its head and its frames, each with its length."""
    at = 12 + int.from_bytes(good[8:12], "big")
    head, found = good[:at], []
    while at < len(good):
        end = at + 4 + int.from_bytes(good[at : at + 4], "big")
        found.append(good[at:end])
        at = end
    return head, found


def damages(part: str, good: bytes) -> Iterator[tuple[str, bytes]]:
    """What befalls a file that lies somewhere."""
    head, frames = pieces(good)
    yield "empty", b""
    yield "its magic only", good[:8]
    yield "its head only", head
    yield "cut inside the header", good[:100]
    yield "cut inside a length", head + frames[0] + b"\0\0"
    yield "the last frame missing", head + b"".join(frames[:-1])
    yield "the first frame missing", head + b"".join(frames[1:])
    yield "a byte missing at the end", good[:-1]
    yield "a byte behind it", good + b"\0"
    yield "a frame of no bytes behind it", good + bytes(4)
    yield "a frame twice", head + frames[0] + b"".join(frames)
    yield "the last frame first", head + frames[-1] + b"".join(frames[:-1])
    yield "another file's head", pieces(write(part, header(part, events=8)))[0] + b"".join(frames)
    yield "a bit of the magic", bytes((good[0] ^ 1,)) + good[1:]
    yield "a bit of the header", good[:40] + bytes((good[40] ^ 1,)) + good[41:]
    yield (
        "a bit of a frame's length",
        head + bytes((frames[0][0], frames[0][1], frames[0][2] ^ 1)) + (frames[0][3:] + b"".join(frames[1:])),
    )
    yield (
        "the first bit of a frame",
        head + frames[0][:4] + bytes((frames[0][4] ^ 128,)) + (frames[0][5:] + b"".join(frames[1:])),
    )
    yield "the last bit", good[:-1] + bytes((good[-1] ^ 1,))
    yield "a length of the header beyond the file", good[:8] + b"\0\x0f\xff\xff" + good[12:]
    yield "a length of the header of nothing", good[:8] + bytes(4) + good[12:]


def headers(part: str) -> Iterator[tuple[str, Vector]]:
    """Headers that a file is bound to, and that are not to be taken."""
    good = header(part)
    other = next(other for other in FRAMES if other != part)
    yield "of version 1", {**good, "v": 1}
    yield "of version 3", {**good, "v": 3}
    yield "a version as text", {**good, "v": "2"}
    yield "another part's than the magic", {**good, "part": other}
    yield "a part that is none", {**good, "part": "copies"}
    yield "a member more", {**good, "note": ""}
    for lacking in ("region", "set", "events", "tables"):
        yield f"without {lacking}", {name: value for name, value in good.items() if name != lacking}
    yield (
        "without a column",
        {**good, "tables": {name: columns[1:] for name, columns in good["tables"].items()}},
    )
    yield "without its tables", {**good, "tables": {}}
    if part != "values":
        yield "another region", {**good, "region": "us"}
        yield "another epoch", {**good, "epoch": 3}


def contents(part: str) -> Iterator[tuple[str, list[bytes]]]:
    """Frames that are bound as they should be, and hold what they should not."""
    frames, good = FRAMES[part], frames_of(part)
    table, rows = frames[0]
    total = counts(frames)
    yield "one counted too many", frames_of(part, ("", [[total[0][0], total[0][1] + 1], *total[1:]]))
    yield "a table not counted", frames_of(part, ("", total[1:]))
    yield "a table counted that is not there", frames_of(part, ("", [*total, ["tenants", 0]]))
    yield "a last frame that names a table", frames_of(part, (table, total))
    yield "a last frame that counts in no pairs", frames_of(part, ("", [7]))
    yield "no frame that counts", good[:-1]
    more = ("nothing", [[b"k"]])
    yield "a table that the header does not name", frames_of(part, None, more)
    yield "a table without a name", [pack(["", []]), *good]
    yield "a row too short", frames_of(part, None, (table, [rows[0][:-1]]))
    yield "a row too long", frames_of(part, None, (table, [[*rows[0], None]]))
    yield "a row that is none", frames_of(part, None, (table, [7]))
    yield "a row as a map", frames_of(part, None, (table, [{str(at): at for at in range(len(rows[0]))}]))
    yield "a byte behind the rows", [good[0] + b"\xc0", *good[1:]]
    yield "rows cut off", [good[0][:-1], *good[1:]]
    yield "of no bytes", [b"", *good]
    yield "a pair of three", [pack([table, rows, None]), *good[1:]]
    yield "a pair of one", [pack([table]), *good]
    yield "a pair that is a number", [pack(7), *good]
    yield "a table's name as bytes", [pack([table.encode(), rows]), *good[1:]]
    yield "rows as a map", [pack([table, {}]), *good]
    yield "rows as a text", [pack([table, ""]), *good]
    yield "rows as a number", [pack([table, 0]), *good]
    yield "a kind of value that there is none of", [b"\x92" + pack(table) + b"\xc1", *good]
    yield "a text that is no UTF-8", [b"\x92\xa1\xff\x90", *good]


def sealings() -> Iterator[tuple[str, dict[str, Any]]]:
    """Steps of sealing that are not those of the page."""
    yield "no length before a frame's byte order", {"length": lambda size: size.to_bytes(4, "little")}
    yield "another label", {"label": b"coatcheck/epoch-sealing/"}
    yield "sealed as something else", {"use": "value"}
    yield "sealed in another region", {"region": "us"}
    yield "sealed for a tenant", {"tenant": "main"}
    yield "bound to no header", {"bound": lambda _: hashlib.sha256(b"").digest()}
    yield "bound to the header's length", {"bound": lambda raw: len(raw).to_bytes(32, "big")}
    yield "frames without a place", {"place": lambda _index, _last: bytes(5)}
    yield "frames without a number", {"place": lambda _index, last: bytes((0, 0, 0, 0, last))}
    yield "frames counted from one", {"place": lambda at, last: (at + 1).to_bytes(4, "big") + bytes((last,))}
    yield "no frame the last", {"place": lambda index, _last: index.to_bytes(4, "big") + b"\0"}
    yield "every frame the last", {"place": lambda index, _last: index.to_bytes(4, "big") + b"\1"}


def chains() -> Iterator[tuple[str, dict[str, Any]]]:
    """Steps of the chain that are not those of the page."""
    yield "begun without the magic", {"start": lambda _magic, raw: hashlib.sha256(raw).digest()}
    yield "begun without the header", {"start": lambda magic, _raw: hashlib.sha256(magic).digest()}
    yield "begun with zeros", {"start": lambda _magic, _raw: bytes(32)}
    yield "no chain", {"link": lambda _check, place, plain: hashlib.sha256(place + plain).digest()}
    yield "without the place", {"link": lambda check, _place, plain: hashlib.sha256(check + plain).digest()}
    yield "without the rows", {"link": lambda check, place, _plain: hashlib.sha256(check + place).digest()}
    yield "no frame the last", {"place": lambda index, _last: index.to_bytes(4, "big") + b"\0"}
    yield "frames without a number", {"place": lambda _index, last: bytes((0, 0, 0, 0, last))}


def bad_logs() -> Iterator[Vector]:
    """Logs that are damaged, or another region's."""
    good = log()
    sound = {"region": "eu", "log": good.hex()}

    def bad(name: str, raw: bytes = good, **changed: Any) -> Vector:
        asked = {**sound, "log": raw.hex(), **changed}
        return {"defect": f"log: {name}", "class": "integrity_failed", "of": "a log", **asked}

    yield bad("another region's", region="us")
    yield bad("another region's, by its file", log(region="us"))
    yield bad("another magic", log(magic=b"CKERAS2\n"))
    yield bad("a head that is not one, cut off", b"CKERAS2\n")
    yield bad("a bit of a key", good[:40] + bytes((good[40] ^ 1,)) + good[41:])
    yield bad("a bit of a number", good[:60] + bytes((good[60] ^ 1,)) + good[61:])
    yield bad("a bit of a check", good[:103] + bytes((good[103] ^ 1,)) + good[104:])
    yield bad("a bit of the last check", good[:-1] + bytes((good[-1] ^ 1,)))
    yield bad("its first entry missing", good[:40] + good[104:])
    yield bad("an entry in the middle missing", good[:104] + good[168:])
    yield bad("an entry twice", good[:104] + good[40:])
    yield bad("two entries exchanged", good[:40] + good[104:168] + good[40:104] + good[168:])
    yield bad("zeros for an entry in the middle", good[:104] + bytes(64) + good[168:])
    yield bad("something behind zeros", good + bytes(64) + b"\1")
    yield bad("begun without the head", log(first=lambda _: bytes(32)))
    yield bad("no chain", log(link=lambda _check, said: hashlib.sha256(said).digest()))
    yield bad("chained without what is said", log(link=lambda check, _said: hashlib.sha256(check).digest()))
