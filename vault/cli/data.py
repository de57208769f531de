"""tokenize, detokenize, encrypt, decrypt. Values come on standard input or from a file, not as arguments."""

from __future__ import annotations

from typing import Any

import click

from vault.cli.doors import Door, command, read_lines


def register(cli: click.Group) -> None:
    """Adds the commands."""
    for name in _group.commands:
        cli.add_command(_group.commands[name])


_group = click.Group()
_SOURCE = click.option("--in", "source", type=click.Path(), help="A file in place of standard input.")


@command(_group, "tokenize", "remote", "once")
@click.argument("field")
@_SOURCE
@click.option("--with-subjects", is_flag=True, help="Each line is VALUE<tab>SUBJECT.")
@click.option("--keep", help="A time like P7D, where it is shorter than the field's retention class.")
def tokenize(door: Door, field: str, source: str | None, with_subjects: bool, keep: str | None) -> None:
    """Turn values into tokens, one a line, in order.

    An empty line stands for null and comes back empty.
    """
    lines = read_lines(source)
    body: dict[str, Any] = {"field": field, "values": [line or None for line in lines]}
    if with_subjects:
        # A value may hold tabs, an identifier cannot: the last one is the separator.
        pairs = [line.rpartition("\t") if "\t" in line else (line, "", "") for line in lines]
        body["values"] = [value or None for value, _, _ in pairs]
        body["subjects"] = [subject or None for _, _, subject in pairs]
    if keep is not None:
        body["keep"] = keep
    answer = door.call("POST", "tokenize", body)
    door.output.lines(answer["tokens"], answer)
    if "key_version" in answer:
        door.output.note(f"key_version {answer['key_version']}")


@command(_group, "rekey", "remote", "once")
@click.argument("field")
@_SOURCE
@click.option("--from-version", type=int, required=True, help="The key version of the tokens.")
def rekey(door: Door, field: str, source: str | None, from_version: int) -> None:
    """Turn tokens of a vaultless field into those of its newest key version, one a line, in order.

    No value is shown. An empty line stands for null and comes back empty.
    """
    tokens = [line or None for line in read_lines(source)]
    answer = door.call("POST", "rekey", {"field": field, "tokens": tokens, "from_version": from_version})
    door.output.lines(answer["tokens"], answer)
    door.output.note(f"key_version {answer['key_version']}")


@command(_group, "detokenize", "remote", "once")
@click.argument("field")
@_SOURCE
@click.option("--purpose", envvar="COATCHECK_PURPOSE", required=True, help="The grant's purpose.")
@click.option("--operation", default="reveal", show_default=True, help="reveal or mask.")
@click.option("--mask", help="The mask's name, for --operation mask.")
@click.option("--key-version", type=int, help="As tokenize returned it, for vaultless fields.")
def detokenize(
    door: Door,
    field: str,
    source: str | None,
    purpose: str,
    operation: str,
    mask: str | None,
    key_version: int | None,
) -> None:
    """Turn tokens back into values, one a line, in order; the credential is a grant's."""
    lines = read_lines(source)
    body: dict[str, Any] = {
        "purpose": purpose,
        "operation": operation,
        "field": field,
        "tokens": [line or None for line in lines],
    }
    if mask is not None:
        body["mask"] = mask
    if key_version is not None:
        body["key_version"] = key_version
    answer = door.call("POST", "detokenize", body)
    _show_values(door, answer, answer["values"])


@command(_group, "encrypt", "remote", "once")
@click.argument("field")
@_SOURCE
@click.option("--with-subjects", is_flag=True, help="Each line is VALUE<tab>SUBJECT.")
@click.option("--with-records", is_flag=True, help="Each line ends in <tab>RECORD, behind the subject.")
def encrypt(door: Door, field: str, source: str | None, with_subjects: bool, with_records: bool) -> None:
    """Turn values into ciphertexts that you keep, one a line, in order.

    An empty line stands for null and comes back empty.
    """
    names = [name for name, given in (("subject", with_subjects), ("record", with_records)) if given]
    items = [_item(field, "value", line, names) for line in read_lines(source)]
    answer = door.call("POST", "encrypt", {"items": items})
    door.output.lines([item["ciphertext"] for item in answer["items"]], answer)


@command(_group, "decrypt", "remote", "once")
@click.argument("field")
@_SOURCE
@click.option("--purpose", envvar="COATCHECK_PURPOSE", required=True, help="The grant's purpose.")
@click.option("--operation", default="reveal", show_default=True, help="reveal or mask.")
@click.option("--mask", help="The mask's name, for --operation mask.")
@click.option("--with-subjects", is_flag=True, help="Each line is CIPHERTEXT<tab>SUBJECT.")
@click.option("--with-records", is_flag=True, help="Each line ends in <tab>RECORD, behind the subject.")
def decrypt(
    door: Door,
    field: str,
    source: str | None,
    purpose: str,
    operation: str,
    mask: str | None,
    with_subjects: bool,
    with_records: bool,
) -> None:
    """Turn ciphertexts back into values, one a line, in order; the credential is a grant's."""
    names = [name for name, given in (("subject", with_subjects), ("record", with_records)) if given]
    items = [_item(field, "ciphertext", line, names) for line in read_lines(source)]
    body: dict[str, Any] = {"purpose": purpose, "operation": operation, "items": items}
    if mask is not None:
        body["mask"] = mask
    answer = door.call("POST", "decrypt", body)
    _show_values(door, answer, [item["value"] for item in answer["items"] or []])


def _show_values(door: Door, answer: dict[str, Any], values: list[str | None] | None) -> None:
    """Prints values, one a line; an answer that is given again has none."""
    door.output.lines(values or [], answer)
    if answer.get("replayed"):
        door.output.note("This was answered before: no value is shown again, and nothing was charged now.")
    else:
        door.output.note(f"uses left {answer['grant']['uses_left']}")


def _item(field: str, member: str, line: str, names: list[str]) -> dict[str, Any]:
    """An item of a line: a value may hold tabs, what is named behind it cannot."""
    head, *rest = line.rsplit("\t", len(names)) if names else (line,)
    item: dict[str, Any] = {"field": field, member: head or None}
    return item | {name: text for name, text in zip(names, rest, strict=False) if text}
