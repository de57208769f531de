"""The command line against a service: values in, tokens out, grants, principals, keys, schema, log."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import COATCHECK, ROOT, Service, coatcheck_here, environment, running
from vault.codes import CODES

MORE = '\n[purposes.more]\nlegal_basis = "consent"\n'
NAME = "customer.name"
SSN = "customer.ssn"
Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("cli") / "deployment") as service:
        yield service


@pytest.fixture
def run(service: Service) -> Run:
    """Runs a command as the service principal, or with another credential."""

    def call(*arguments: str | Path, given: str | bytes = "", key: str | None = None, **more: str) -> Done:
        variables = {
            "COATCHECK_URL": service.url,
            "COATCHECK_REGION": "eu",
            "COATCHECK_KEY": key or service.credential(),
            "COATCHECK_PURPOSE": "support",
        }
        done = coatcheck_here(*arguments, given=given, more=variables | more)
        assert "Traceback" not in done.stderr
        return done

    return call


@pytest.fixture
def admin(run: Run, service: Service) -> Run:
    def call(*arguments: str | Path, **more: Any) -> Done:
        return run(*arguments, key=service.credential("admin_key"), **more)

    return call


def out(done: Done) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def document(done: Done) -> Any:
    return json.loads(out(done))


def grant(run: Run, *arguments: str) -> Any:
    made = run("grant", "create", "--agent", "agent:demo", "--field", NAME, "--json", *arguments)
    return document(made)


def refused(done: Done, code: str) -> None:
    """The refusal has its code, its sentence, its exit class, and nothing on standard output."""
    row = CODES[code]
    assert done.returncode == row.exit, done.stderr
    first, *rest = done.stderr.splitlines()
    assert first == f"coatcheck: {code}: {row.sentence}"
    assert (f"hint: {row.hint}" in rest) is bool(row.hint)
    assert done.stdout == ""


def test_lines_in_lines_out(run: Run) -> None:
    values = ["Ada Lovelace", "", "王小明", "tab\there", "next\u2029line\u2028and more"]
    text = "\n".join(values) + "\n"
    done = run("tokenize", NAME, given=text)
    tokens = out(done).split("\n")[:-1]
    assert [token == "" for token in tokens] == [value == "" for value in values]
    credential = grant(run, "--uses", "9")["credential"]
    back = run("detokenize", NAME, given="\n".join(tokens), key=credential)
    assert out(back) == text
    assert "uses left 5" in back.stderr


def test_line_ends_of_other_systems_are_taken(run: Run) -> None:
    assert out(run("tokenize", SSN, given="123-45-6789\r\n078-05-1120\r\n")).count("\n") == 2
    one = out(run("tokenize", SSN, given="123-45-6789"))
    assert one == out(run("tokenize", SSN, given=b"123-45-6789\r\n"))


def test_values_from_a_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "values"
    path.write_text("Ada\nBob\n", encoding="utf-8")
    assert len(out(run("tokenize", NAME, "--in", path)).split()) == 2
    assert len(out(run("tokenize", NAME, "--in", "-", given="Ada\n")).split()) == 1
    refused(run("tokenize", NAME, "--in", tmp_path / "none"), "host_permissions")
    refused(run("tokenize", NAME, "--in", tmp_path), "host_permissions")
    path.write_bytes(b"Ad\xff\n")
    refused(run("tokenize", NAME, "--in", path), "body_malformed")


def test_values_with_people(run: Run) -> None:
    done = run("tokenize", NAME, "--with-subjects", given="Ada\tp1\nBo\tb\tp2\nEve\t\n\tp1\nAnn\n")
    ada, bob, eve, nobody, ann = out(done).split("\n")[:-1]
    assert nobody == ""
    only = grant(run, "--uses", "9", "--subject", "p1")["credential"]
    assert out(run("detokenize", NAME, given=ada, key=only)) == "Ada\n"
    for token in (bob, eve, ann):
        refused(run("detokenize", NAME, given=token, key=only), "token_unknown")
    anybody = grant(run, "--uses", "9")["credential"]
    assert out(run("detokenize", NAME, given=f"{bob}\n{eve}\n{ann}\n", key=anybody)) == "Bo\tb\nEve\nAnn\n"


def test_ciphertexts(run: Run) -> None:
    """What is kept by the caller: bound to its person and record, if they are named."""
    text = "conversation.text"
    credential = document(
        run("grant", "create", "--agent", "agent:demo", "--field", text, "--uses", "9", "--json")
    )["credential"]
    made = out(run("encrypt", text, given="Grüße\n\na\tb\n")).split("\n")
    assert (made[1], made[3]) == ("", "")
    assert made[0].startswith("ve1.")
    done = run("decrypt", text, given="\n".join(made), key=credential)
    assert out(done) == "Grüße\n\na\tb\n"
    assert done.stderr == "uses left 7\n"
    bound = out(run("encrypt", text, "--with-subjects", "--with-records", given="a\tb\tp1\trow 7\n"))
    named = bound.replace("\n", "\tp1\trow 7\n")
    back = run("decrypt", text, "--with-subjects", "--with-records", given=named, key=credential)
    assert out(back) == "a\tb\n"
    refused(run("decrypt", text, given=bound, key=credential), "ciphertext_invalid")
    refused(run("encrypt", text, "--with-records", given="a\t\x01\n"), "record_invalid")


def test_equal_addresses_have_one_token(run: Run) -> None:
    lines = "Ada@example.org\tp1\nada@EXAMPLE.org\tp2\n"
    first, second = out(run("tokenize", "customer.email", "--with-subjects", given=lines)).split()
    assert first == second
    refused(run("tokenize", "customer.email", given="ada@example.org\n"), "subject_required")


def test_a_vaultless_field_says_its_version(run: Run) -> None:
    done = run("tokenize", SSN, given="123-45-6789\n")
    assert done.stderr == "key_version 1\n"
    quiet = run("tokenize", SSN, "--quiet", given="123-45-6789\n")
    assert (quiet.stderr, quiet.stdout) == ("", done.stdout)
    credential = document(
        run("grant", "create", "--agent", "agent:demo", "--field", SSN, "--uses", "3", "--json")
    )
    opened = run("detokenize", SSN, "--key-version", "1", given=done.stdout, key=credential["credential"])
    assert out(opened) == "123-45-6789\n"
    refused(run("detokenize", SSN, given=done.stdout, key=credential["credential"]), "key_version_required")


def test_masks(run: Run) -> None:
    token = out(run("tokenize", NAME, given="Ada\n"))
    credential = grant(run, "--operation", "mask", "--mask", "initial", "--uses", "3")["credential"]
    done = run("detokenize", NAME, "--operation", "mask", "--mask", "initial", given=token, key=credential)
    assert out(done) == "A.\n"
    refused(run("detokenize", NAME, given=token, key=credential), "scope_denied")


def test_json_is_the_whole_answer(run: Run) -> None:
    made = document(run("tokenize", NAME, "--json", given="Ada\n\n"))
    assert made["field"] == NAME
    assert made["tokens"][1] is None
    credential = grant(run, "--uses", "2")["credential"]
    done = run("detokenize", NAME, "--json", given="\n".join(filter(None, made["tokens"])), key=credential)
    assert document(done)["values"] == ["Ada"]
    assert done.stderr == "uses left 1\n"


@pytest.mark.parametrize(
    ("arguments", "given", "code"),
    [
        (("tokenize", SSN), "", "member_missing"),
        (("tokenize", SSN), "12345678x\n", "value_alphabet"),
        (("tokenize", "no.such.field"), "x\n", "permission_denied"),
        (("grant", "show", "gr_01M84HD64DFW18BYTQYF0BJRJQ"), "", "not_found"),
        (("grant", "show", "../../whoami"), "", "not_found"),
        (("grant", "list"), "", "permission_denied"),
        (("grant", "create", "--agent", "agent:demo", "--field", "no.such"), "", "field_unknown"),
        (("grant", "create", "--agent", "agent:demo", "--field", NAME, "--uses", "51"), "", "limit_invalid"),
        (("grant", "revoke", "x"), "", "not_found"),
        (("detokenize", NAME), "tok\n", "grant_invalid"),
        (("schema", "show"), "", "permission_denied"),
        (("principal", "create", "service", "x"), "", "permission_denied"),
        (("principal", "list"), "", "permission_denied"),
        (("audit", "tail"), "", "permission_denied"),
    ],
)
def test_refusals(run: Run, arguments: tuple[str, ...], given: str, code: str) -> None:
    refused(run(*arguments, given=given), code)
    done = run(*arguments, "--json", given=given)
    assert done.returncode == CODES[code].exit
    problem = json.loads(done.stderr.splitlines()[0])
    assert (problem["code"], problem["title"]) == (code, CODES[code].sentence)
    assert problem["request"].startswith("req_")
    assert done.stdout == ""


def test_bad_items_are_listed(run: Run) -> None:
    done = run("tokenize", SSN, given="123-45-6789\nx\n12345678x\n")
    assert done.returncode == 3
    assert "  errors: index=1 code=value_length\n  errors: index=2 code=value_alphabet\n" in done.stderr


def test_who_is_not_known_and_what_is_not_there(run: Run) -> None:
    refused(run("tokenize", SSN, given="x", key="ck_" + "0" * 26 + "_" + "a" * 43), "credential_invalid")
    for key in ("x", "é", "a b", "a\nb", "\x7f"):
        refused(run("grant", "list", key=key), "credential_invalid")
    refused(run("grant", "list", COATCHECK_REGION="mars"), "misdirected_region")
    refused(run("grant", "list", COATCHECK_REGION="eu/../us"), "misdirected_region")
    refused(run("grant", "list", COATCHECK_URL="http://127.0.0.1:9"), "service_unreachable")
    for url in ("ftp://127.0.0.1", "127.0.0.1", "http://", "http://[", "http://127.0.0.1:99999", "x y"):
        refused(run("grant", "list", COATCHECK_URL=url), "service_unreachable")


@pytest.mark.parametrize("missing", ["COATCHECK_REGION", "COATCHECK_KEY", "COATCHECK_URL"])
def test_what_is_missing_is_named(run: Run, missing: str) -> None:
    done = run("grant", "list", **{missing: ""})
    assert done.returncode == 2
    assert missing in done.stderr


def test_the_credential_from_a_file(run: Run, service: Service, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(service.credential("admin_key") + "\n", encoding="utf-8")
    assert out(run("grant", "list", "--key-file", path, COATCHECK_KEY="")) is not None
    refused(run("grant", "list", "--key-file", tmp_path / "none", COATCHECK_KEY=""), "host_permissions")


def test_the_life_of_a_grant(run: Run, admin: Run) -> None:
    made = grant(run, "--uses", "3", "--batch", "2", "--reason", "ticket 7", "--on-behalf-of", "user:1")
    assert made["credential"].startswith("cg_")
    shown = document(run("grant", "show", made["id"], "--json"))
    assert (shown["state"], shown["uses_left"], shown["batch"]) == ("active", 3, 2)
    assert "credential" not in shown
    plain = out(run("grant", "show", made["id"]))
    assert f"id           {made['id']}" in plain
    rows = document(admin("grant", "list", "--state", "active", "--json"))
    assert made["id"] in [row["id"] for row in rows]
    listed = admin("grant", "list", "--limit", "1")
    assert out(listed).splitlines()[0].split() == [
        "ID", "STATE", "AGENT", "PURPOSE", "USES_LEFT", "VALID_UNTIL",
    ]  # fmt: skip
    assert "more: --cursor gr_" in listed.stderr
    assert document(run("grant", "revoke", made["id"], "--reason", "done", "--json"))["state"] == "revoked"
    assert document(admin("grant", "list", "--state", "revoked", "--json"))[0]["id"] == made["id"]


def test_the_life_of_a_principal(run: Run, admin: Run) -> None:
    ceiling = json.dumps({"fields": [NAME], "uses": 3})
    create = ("principal", "create", "service", "batch", "--permission", f"tokenize:{NAME}", "--json")
    made = document(admin(*create, "--ceiling", ceiling))
    assert made["name"] == "service:batch"
    key = document(admin("apikey", "create", made["id"], "--network", "127.0.0.0/8", "--json"))
    assert out(run("tokenize", NAME, given="Ada\n", key=key["credential"])).startswith("tok_")
    rows = document(admin("apikey", "list", made["id"], "--json"))
    assert [row["id"] for row in rows] == [key["id"]]
    assert "service:batch" in out(admin("principal", "list"))
    assert document(admin("apikey", "revoke", key["id"], "--yes", "--json"))["revoked"] is True
    refused(run("tokenize", NAME, given="Ada\n", key=key["credential"]), "credential_invalid")
    removed = document(admin("principal", "remove", made["id"], "--yes", "--json"))
    assert removed["id"] == made["id"]
    refused(admin("principal", "remove", made["id"], "--yes"), "not_found")
    refused(admin("principal", "create", "service", "Not A Name"), "name_invalid")
    refused(admin("principal", "create", "service", "demo"), "name_taken")


@pytest.mark.parametrize("text", ["{", "[]", '{"uses": "x"}', '{"unknown": 1}', "[" * 50_000, "\ud800"])
def test_a_ceiling_that_is_none(admin: Run, text: str) -> None:
    done = admin("principal", "create", "service", "never", "--ceiling", text)
    assert done.returncode == 2
    assert "option: --ceiling" in done.stderr


def test_it_does_not_ask_without_a_terminal(admin: Run) -> None:
    for arguments in (("principal", "remove", "pr_x"), ("apikey", "revoke", "ck_x")):
        done = admin(*arguments, given="y\n")
        assert done.returncode == 2
        assert "say --yes" in done.stderr


def test_the_schema(admin: Run, service: Service, tmp_path: Path) -> None:
    text = (service.folder / "schema.toml").read_text(encoding="utf-8")
    path = tmp_path / "schema.toml"
    path.write_text(text, encoding="utf-8")
    same = document(admin("schema", "plan", path, "--json"))
    assert same["changes"] == []
    path.write_text(text + MORE, encoding="utf-8")
    plan = admin("schema", "plan", path)
    assert out(plan).splitlines()[1].split() == ["add", "purpose", "more", "-"]
    done = admin("schema", "apply", path)
    assert done.returncode == 2
    assert "say --yes" in done.stderr
    digest = document(admin("schema", "plan", path, "--json"))["digest"]
    refused(admin("schema", "apply", path, "--digest", "0" * 64), "plan_changed")
    assert document(admin("schema", "apply", path, "--digest", digest, "--json"))["version"] == 2
    assert document(admin("schema", "show"))["version"] == 2
    assert document(admin("schema", "apply", path, "--yes", "--json"))["changes"] == []
    path.write_text("[fields.x]\n", encoding="utf-8")
    refused(admin("schema", "plan", path), "schema_refused")
    refused(admin("schema", "plan", tmp_path / "none.toml"), "host_permissions")
    path.write_bytes(b"\xff")
    refused(admin("schema", "plan", path), "host_permissions")
    assert admin("schema", "plan").returncode == 11


def test_the_log_over_http(run: Run, admin: Run) -> None:
    out(run("tokenize", NAME, given="Ada\n"))
    events = document(admin("audit", "tail", "--count", "5", "--json"))
    assert len(events) == 5
    assert [event["number"] for event in events] == sorted(event["number"] for event in events)
    last = out(admin("audit", "tail", "--count", "1", "--kind", "tokenize"))
    assert last.splitlines()[1].split()[2:5] == ["tokenize", "service:demo", "done"]
    assert admin("audit", "tail", "--count", "0").returncode == 2


def test_a_closed_pipe_is_no_error(service: Service) -> None:
    """`coatcheck audit tail | head -1`, and nothing on standard error but what head leaves alone."""
    variables = {"COATCHECK_URL": service.url, "COATCHECK_REGION": "eu"}
    command = " ".join([*COATCHECK, "audit", "tail", "--count", "500", "--quiet"])
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"for i in 1 2 3; do {command}; done | head -c 1"],
        env=environment(variables | {"COATCHECK_KEY": service.credential("admin_key")}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stderr == ""


@pytest.mark.parametrize(
    "command",
    [("principal", "remove", "pr_x"), ("apikey", "revoke", "ck_x"), ("schema", "apply", "schema.toml")],
)
def test_a_question_never_hangs_on_an_open_pipe(
    service: Service, command: tuple[str, ...], tmp_path: Path
) -> None:
    """Standard input is a pipe that nobody writes to and nobody closes."""
    text = (service.folder / "schema.toml").read_text(encoding="utf-8")
    later = '\n[purposes.later]\nlegal_basis = "consent"\n'
    (tmp_path / "schema.toml").write_text(text + MORE + later, encoding="utf-8")
    reading, writing = os.pipe()
    variables = {"COATCHECK_URL": service.url, "COATCHECK_REGION": "eu"}
    try:
        done = subprocess.run(
            [*COATCHECK, *command],
            stdin=reading,
            env=environment(
                variables | {"COATCHECK_KEY": service.credential("admin_key"), "PYTHONPATH": str(ROOT)}
            ),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    finally:
        os.close(reading)
        os.close(writing)
    assert done.returncode == 2, done.stderr
    assert "there is no terminal; say --yes" in done.stderr
