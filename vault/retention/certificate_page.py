"""A certificate of erasure as a page that people read, and print: no script, nothing from elsewhere. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Final

from vault.retention.certificate import Certificate

_STYLE: Final = (
    "body{font:11pt/1.5 serif;max-width:46em;margin:2em auto;padding:0 1em;color:#111;background:#fff}"
    "h1{font-size:1.5em;margin-bottom:0}h2{font-size:1.1em;margin:1.6em 0 .3em}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.25em .6em "
    ".25em 0;border-bottom:1px solid #ccc}th{font-weight:normal;color:#555;width:14em}"
    "code{font-size:.9em;overflow-wrap:anywhere}@media print{body{margin:0;max-width:none}}"
)


def page(found: Certificate, jws: str, key: str) -> str:
    """The page of a certificate that was checked.

    Args:
        jws: the certificate itself, which the page repeats: it, and not the page, is what can be checked.
        key: the thumbprint of the key that signed it.
    """
    selected = found.selected
    rows: list[tuple[str, str]] = [
        ("Erasure", _code(found.id)),
        ("Of", _code(found.subject) if found.subject else _plain(_target(found))),
        ("Cell and tenant", f"{_code(found.region)}, {_code(found.tenant)}"),
        ("Grounds", _plain(found.grounds)),
        ("Asked for by", _plain(found.requested_by)),
    ]
    kept = [
        ("Data keys", str(selected.keys)),
        ("Their ids", "<br>".join(map(_code, selected.key_ids)) or "more than are listed here"),
        ("SHA-256 of the ids", _code(selected.key_ids_sha256) if selected.key_ids_sha256 else "not taken"),
        ("Retention classes", _plain(", ".join(selected.classes) or "none")),
        ("Values, by field", "<br>".join(f"{_code(k)}: {v}" for k, v in selected.values.items()) or "none"),
        ("Tokens that stay", f"{selected.shared_tokens}, as other people have values under them too"),
    ]
    parts = [_table(rows), "<h2>Levels</h2>", _levels(found), "<h2>What was selected</h2>", _table(kept)]
    if found.turn is not None:
        turn = found.turn
        parts += [
            "<h2>The turn that closed it</h2>",
            _table(
                [
                    ("Epochs", f"{turn.closes} was closed, {turn.opens} opened"),
                    ("Events in the log at its flip", str(turn.events)),
                    ("Half-stores", "<br>".join(map(_code, turn.half_stores))),
                    ("Opened for the last time", _plain(turn.opened_at or "not yet")),
                    (
                        "Refused to open",
                        _plain(f"{turn.refused_at} ({turn.refused})" if turn.refused else "not yet"),
                    ),
                    (
                        "Found in the new epoch",
                        _plain(", ".join(f"{k}: {v}" for k, v in turn.survivors.items())),
                    ),
                    (
                        "Receipt of the key store",
                        _plain(", ".join(f"{k}: {v}" for k, v in turn.receipt.items())),
                    ),
                ]
            ),
        ]
    horizon = [
        ("The root key is gone for good", _plain(found.due or "with the last level above")),
        ("Backups of custody may exist until", _plain(found.backups_until or "not closed yet")),
        ("Late writes are refused until", _plain(found.fenced_until or "they are not")),
        ("Legal holds that keep it", "<br>".join(map(_code, found.held_by)) or "none"),
        ("Not covered", "<br>".join(map(_plain, found.not_covered))),
        *(
            (f"Event {name}", f"number {one.number}, leaf {_code(one.leaf)}")
            for name, one in found.log.items()
        ),
    ]
    parts += ["<h2>Horizon and exceptions</h2>", _table(horizon)]
    parts += [
        "<h2>To check it</h2>",
        "<p>Save the text below as <code>certificate.jws</code> and the keys that the service publishes as "
        "<code>keys.json</code>, then run "
        "<code>coatcheck erasure verify certificate.jws --keys keys.json</code>."
        f" The key that signed it is {_code(key)}.</p>",
        f"<p>{_code(jws)}</p>",
    ]
    title = f"Certificate of erasure, level {html.escape(found.level)}"
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    )


def _target(found: Certificate) -> str:
    return ", ".join(f"{name} {value}" for name, value in found.target.items()) or "nobody who was known"


def _levels(found: Certificate) -> str:
    return _table((one.level, f"{_plain(one.at)}<br>{_plain(one.means)}") for one in found.levels)


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = "\n".join(f"<tr><th>{_plain(name)}</th><td>{value}</td></tr>" for name, value in rows)
    return f"<table>\n{cells}\n</table>"


def _plain(text: str) -> str:
    return html.escape(text)


def _code(text: str) -> str:
    return f"<code>{html.escape(text)}</code>"
