"""Templates and fields explained over HTTP and in the shell; values tried without leaving it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service import Service, coatcheck_here, running
from vault.formats.catalog import CATALOG

SIX_FOUR = "100,000 (16 digits, 10 kept, 1 determined by the check digit)"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("explain") / "deployment") as made:
        yield made


def test_a_template_over_http(service: Service) -> None:
    answer = service.call("GET", "templates/card/explain?parameters=keep_first%3D6%2C%20luhn%3D%27break%27")
    assert answer.status == 200
    found = answer.json()
    assert found["template"] == "card(keep_first=6, keep_last=4, luhn='break')"
    assert (found["domain"]["size"], found["advice"]["protection"]) == (100_000, "vaulted")
    budget = service.call("GET", "templates/ssn/explain?protection=vaultless&per_day=1000000").json()
    assert budget["dictionary"]["seconds"] == 1_000 * 86_400
    shaped = service.call("GET", "templates/text/explain?surrogate=e164(country%3D1)&max_rows=5000000").json()
    assert shaped["guess"]["rows"] == {"numerator": 1, "denominator": 1280, "text": "1 in 1,280"}


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("templates/none/explain", 404, "not_found"),
        ("templates/ssn/explain?value=123-45-6789", 400, "parameter_invalid"),
        ("templates/ssn/explain?max_rows=-1", 400, "parameter_invalid"),
        ("templates/ssn/explain?parameters=strict%3D1", 422, "template_invalid"),
        ("fields/none/explain", 404, "not_found"),
        ("fields/customer.ssn/explain?protection=vaulted", 400, "parameter_invalid"),
    ],
)
def test_what_is_refused_over_http(service: Service, path: str, status: int, code: str) -> None:
    answer = service.call("GET", path)
    assert (answer.status, answer.json()["code"]) == (status, code)
    assert b"123-45" not in answer.body


def test_a_field(service: Service) -> None:
    found = service.call("GET", "fields/customer.ssn/explain").json()
    assert (found["template"], found["protection"]) == ("ssn", "vaultless")
    done = coatcheck_here(
        *("template", "explain", "--field", "customer.ssn", "--json"),
        more={"COATCHECK_URL": service.url, "COATCHECK_REGION": "eu", "COATCHECK_KEY": service.credential()},
    )
    assert json.loads(done.stdout) == found


def test_a_field_of_a_cell_on_this_host(tmp_path: Path) -> None:
    assert coatcheck_here("init", "--dev", tmp_path).returncode == 0
    here = ("--config", str(tmp_path), "--region", "eu", "--json")
    done = coatcheck_here("template", "explain", "--field", "customer.pan", *here)
    assert json.loads(done.stdout)["template"] == "card(keep_last=4, luhn='break')"
    assert coatcheck_here("template", "explain", "--field", "none", *here).returncode == 6


def test_a_spelling_needs_no_server() -> None:
    done = coatcheck_here("template", "explain", "card(keep_first=6)")
    assert done.returncode == 0
    lines = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    assert lines["domain"].strip() == SIX_FOUR
    assert lines["smallest"].endswith("too few for format-preserving encryption")
    assert lines["advice"].strip().startswith("vaulted with surrogate card: 100,000 values look alike")
    plain = coatcheck_here("template", "explain", "ssn", "--per-day", "1000000")
    assert "all 1,000,000,000 values: 3 years at 1,000,000 values a day" in plain.stdout
    listed = coatcheck_here("template", "list", "--json")
    assert [row["name"] for row in json.loads(listed.stdout)] == list(CATALOG)
    assert coatcheck_here("template", "list").stdout.count("\n") == 1 + len(CATALOG)


@pytest.mark.parametrize(
    "arguments",
    [(), ("ssn", "--field", "customer.ssn"), ("--field", "customer.ssn", "--per-day", "5")],
)
def test_one_thing_is_explained(arguments: tuple[str, ...]) -> None:
    done = coatcheck_here("template", "explain", *arguments)
    assert (done.returncode, done.stdout) == (2, "")


def test_values_are_tried_on_standard_input(tmp_path: Path) -> None:
    done = coatcheck_here("template", "try", "ssn", "--json", given="123-45-6789\n12\n\n")
    taken, short, empty = json.loads(done.stdout)
    assert (taken["result"], taken["among"], taken["kept"]) == ("taken", 10**9, "###-##-####")
    assert taken["token"] != "123-45-6789"
    assert (short["line"], short["result"], empty["result"]) == (2, "value_length", "value_empty")
    assert "123-45-6789" not in done.stdout + done.stderr
    path = tmp_path / "values"
    path.write_text("Ada\n", encoding="utf-8")
    shown = coatcheck_here("template", "try", "text", "--in", str(path))
    assert "tok_" in shown.stdout
    assert "Ada" not in shown.stdout
    wrong = coatcheck_here("template", "try", "none", given="123-45-6789\n")
    assert (wrong.returncode, wrong.stdout) == (3, "")
    assert "6789" not in wrong.stderr
    assert coatcheck_here("template", "try", "ssn", "123-45-6789").returncode == 2
