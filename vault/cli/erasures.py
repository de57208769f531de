"""erasure ..., subject status | reopen: over HTTP or on this host; `erasure verify` with neither."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from vault.cli.backup import RowBar
from vault.cli.doors import Door, command, read_lines, segment
from vault.cli.identities import confirm
from vault.cli.jobs import watch
from vault.errors import BadInput, IntegrityError
from vault.prove import Proof, scratch
from vault.retention import certificate_page
from vault.retention.certificate import MAX_BYTES, check_certificate, kid_of, public_keys
from vault.services import certificates, erasures, fences
from vault.services.erasure_kinds import GROUNDS
from vault.services.erasures import ErasureBody, SubjectBody
from vault.services.fences import ReopenBody
from vault.services.levels import LEVELS
from vault.services.listing import Page
from vault.services.worker import Worker

SOURCE: Final = click.option(
    "--in", "source", type=click.Path(), help="A file that holds the subject; else standard input."
)
COLUMNS: Final = ("id", "level", "grounds", "keys", "requested_by", "fenced_until")


@click.group("erasure")
def group() -> None:
    """Erase people, and see how far that is."""


@click.group("subject")
def people() -> None:
    """See what there is of a person, and let one who was erased be entered anew."""


def register(cli: click.Group) -> None:
    """Adds the groups."""
    cli.add_command(group)
    cli.add_command(people)


@command(group, "request", "remote", "host", "once")
@click.option("--grounds", required=True, type=click.Choice(sorted(GROUNDS)), help="Why.")
@click.option("--reference", help="Your name of the request that led to it; it goes into the log.")
@click.option("--dry-run", is_flag=True, help="Only say what would be erased.")
@click.option("--watch", "watched", is_flag=True, help="Over HTTP: watch until the keys are removed.")
@SOURCE
def request(
    door: Door, grounds: str, reference: str | None, dry_run: bool, watched: bool, source: str | None
) -> None:
    """Erase a person; the person's identifier stands on standard input or in --in.

    Denied everywhere at once. A worker removes the keys, on this host this command; the next turn of the
    epoch makes it final against backups. Shows what would go and asks, or --yes.
    """
    body = ErasureBody(read_subject(source), grounds, reference, dry_run)
    if not dry_run and not door.yes:
        would = _request(door, ErasureBody(body.subject, grounds, reference, True))
        _say(door, would)
        confirm(door, "Erase this person?")
    made = _request(door, body)
    if not door.remote and not dry_run:  # nobody else has the cell who would do it
        with door.cell() as cell:
            worker = Worker(cell)
            while worker.run_one():
                pass
        made = dict(door.verb(erasures.read_erasure, made["id"]))
    if watched and door.remote and made.get("job"):
        watch(door, lambda: dict(door.call("GET", f"jobs/{segment(made['job'])}")))
        made = dict(door.call("GET", f"erasures/{segment(made['id'])}"))
    door.output.record(made)
    if not dry_run:
        door.output.note(f"coatcheck erasure show {made['id']}")


@command(group, "list", "remote", "host")
@click.option("--limit", type=int, default=100, show_default=True, help="Rows of the page.")
@click.option("--cursor", help="`next` of the page before.")
def list_(door: Door, limit: int, cursor: str | None) -> None:
    """List erasures, newest first."""
    if door.remote:
        answer = door.call("GET", "erasures", query={"limit": limit, "cursor": cursor})
    else:
        answer = door.verb(erasures.list_erasures, Page(limit, cursor))
    door.page(answer, COLUMNS)


@command(group, "show", "remote", "host")
@click.argument("erasure")
def show(door: Door, erasure: str) -> None:
    """Show one erasure: which levels it has reached, and when."""
    if door.remote:
        found = dict(door.call("GET", f"erasures/{segment(erasure)}"))
    else:
        found = dict(door.verb(erasures.read_erasure, erasure))
    door.output.record(found)
    door.output.note(f"{found['level']}: {LEVELS[found['level']]}")


@command(group, "certificate", "remote", "host")
@click.argument("erasure")
@click.option("--out", type=click.Path(), help="Where to write the certificate; else standard output.")
@click.option("--html", "page", type=click.Path(), help="Also write a page of it, to be read or printed.")
def certificate(door: Door, erasure: str, out: str | None, page: str | None) -> None:
    """Write the certificate of an erasure, at the level that it has reached."""
    if door.remote:
        answer = dict(door.call("GET", f"erasures/{segment(erasure)}/certificate"))
        keys = dict(door.call("GET", "certificate-keys"))["keys"]
    else:
        answer = dict(door.verb(certificates.read_certificate, erasure))
        keys = dict(door.verb(certificates.read_certificate_keys))["keys"]
    text = str(answer["jws"])
    found = check_certificate(text, public_keys(keys))
    if page is not None:
        Path(page).write_text(certificate_page.page(found, text, kid_of(text)), encoding="utf-8")
    if out is None:
        door.output.lines([text], {"certificate": text})
    else:
        Path(out).write_text(text + "\n", encoding="ascii")
        door.output.note(f"{found.level}; check it with `coatcheck erasure verify {out} --keys KEYS`")


@command(group, "keys", "remote", "host")
@click.option("--out", type=click.Path(), help="Where to write the keys; else standard output.")
def keys_(door: Door, out: str | None) -> None:
    """Write the public keys that certificates are checked with: a JWK Set, to be kept with them."""
    if door.remote:
        answer = dict(door.call("GET", "certificate-keys"))
    else:
        answer = dict(door.verb(certificates.read_certificate_keys))
    text = json.dumps({"keys": list(answer["keys"])}, indent=1)
    if out is None:
        door.output.lines([text], {"keys": list(answer["keys"])})
    else:
        Path(out).write_text(text + "\n", encoding="utf-8")


@command(group, "verify")
@click.argument("certificate", type=click.Path())
@click.option("--keys", "source", required=True, type=click.Path(), help="The JWK Set of the cell.")
@click.option("--html", "page", type=click.Path(), help="Also write a page of it, to be read or printed.")
def verify(door: Door, certificate: str, source: str, page: str | None) -> None:
    """Check a certificate of erasure, without a service: who signed it, and whether it claims too much.

    The keys must come from where they can be trusted: whoever brings both can make up both.
    """
    text = _file(certificate, MAX_BYTES).strip()
    try:
        document = json.loads(_file(source, MAX_BYTES))
        keys = public_keys(document["keys"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadInput("usage", reason="--keys is no JWK Set of Ed25519 keys") from None
    found = check_certificate(text, keys)
    if page is not None:
        Path(page).write_text(certificate_page.page(found, text, kid_of(text)), encoding="utf-8")
    door.output.record(dict(msgspec.to_builtins(found)))
    door.output.note(f"{found.level} since {found.levels[-1].at}: {found.levels[-1].means}")


@command(group, "prove")
@click.option(
    "--people", type=click.IntRange(4, 100_000), default=100, show_default=True, help="To be erased."
)
@click.option(
    "--domain",
    type=click.IntRange(1_000, 10_000_000),
    default=100_000,
    show_default=True,
    help="Values that there can be of a deterministic field; all are tried on the index.",
)
@click.option(
    "--database", help="URL of an empty database on PostgreSQL; else SQLite, in a temporary folder."
)
@click.option("--kms", help="A key store, by a name that nothing else uses; else a local one.")
@click.option("--kms-auth", multiple=True, metavar="NAME=VALUE", help="As in kms_auth of a cell; repeat it.")
def prove(
    door: Door, people: int, domain: int, database: str | None, kms: str | None, kms_auth: tuple[str, ...]
) -> None:
    """Show that erasures hold: fill a cell of its own, erase in it, and attack it at each level.

    The attacker has the database from before, the key store, and the index key. What is marked as a control
    has to succeed: an attack that finds nothing because it does not work would show nothing.
    """
    if kms is not None:
        confirm(door, "Make root keys there, and destroy them?")
    auth = dict(one.partition("=")[::2] for one in kms_auth)
    bar = RowBar(quiet=door.output.quiet)
    with scratch() as folder:
        proof = Proof(
            folder,
            people,
            domain,
            database=database,
            kms=kms,
            settings={"kms_auth": auth} if auth else {},
            seen=bar.show,
        )
        findings = proof.run()
    bar.end()
    rows = [
        {
            "level": one.level,
            "attacker": one.attacker,
            "recovered": f"{one.recovered} of {one.values}",
            "as_expected": one.holds,
        }
        for one in findings
    ]
    door.output.table(rows, ("level", "attacker", "recovered", "as_expected"))
    if not all(one.holds for one in findings):
        raise IntegrityError("erasure_refuted")


def _file(path: str, most: int) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(most + 1)
    except OSError:
        raise BadInput("usage", reason="a file cannot be read") from None
    if len(data) > most:
        raise BadInput("usage", reason="a file is larger than such files are")
    return data.decode("utf-8", "replace")


@command(people, "status", "remote", "host")
@SOURCE
def status(door: Door, source: str | None) -> None:
    """Say whether anything is kept of a person, what holds it, and whether the person was erased."""
    body = SubjectBody(read_subject(source))
    answer = (
        door.call("POST", "subjects/status", body) if door.remote else door.verb(erasures.read_status, body)
    )
    door.output.record(dict(answer))


@command(people, "reopen", "remote", "host", "once")
@click.option("--reason", required=True, help="Why the person may be entered anew.")
@SOURCE
def reopen(door: Door, reason: str, source: str | None) -> None:
    """Let a person who was erased be entered anew. What was erased stays erased."""
    body = ReopenBody(read_subject(source), reason)
    answer = (
        door.call("POST", "subjects/reopen", body) if door.remote else door.verb(fences.reopen_subject, body)
    )
    door.output.record(dict(answer))


def _request(door: Door, body: ErasureBody) -> dict[str, Any]:
    if door.remote:
        return dict(door.call("POST", "erasures", body))
    return dict(door.verb(erasures.request_erasure, body))


def _say(door: Door, would: dict[str, Any]) -> None:
    fields = ", ".join(f"{count} of {field}" for field, count in would.get("values", {}).items())
    door.output.note(f"{would['keys']} data keys go, and with them {fields or 'no value in a row'}.")
    if would.get("shared_tokens"):
        door.output.note(f"{would['shared_tokens']} tokens stay: other people have values under them.")
    for hold in would.get("held_by", []):
        door.output.note(f"The legal hold {hold} keeps all of it until it is released.")


def read_subject(source: str | None) -> str:
    """The one line of a file, or of standard input."""
    lines = read_lines(source)
    if len(lines) != 1:
        raise BadInput("usage", reason="one subject is meant, on one line")
    return lines[0]
