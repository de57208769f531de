"""The schema from the shell: a file to start from, what was applied, and what an earlier version said."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support.service import coatcheck_here, initialise
from vault.cli.templates import STARTER_SCHEMA
from vault.codes import CODES

Done = subprocess.CompletedProcess[str]


def here(*arguments: str | Path) -> Done:
    done = coatcheck_here(*arguments, given="", more={})
    assert "Traceback" not in done.stderr
    return done


def document(done: Done) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(done: Done, code: str) -> None:
    assert done.returncode == CODES[code].exit, done.stderr
    assert f"coatcheck: {code}: " in done.stderr


def test_a_starter_is_written_planned_applied_and_kept(tmp_path: Path) -> None:
    folder, file = tmp_path / "deployment", tmp_path / "starter.toml"
    initialise(folder)
    on = ("--config", folder, "--region", "eu")
    assert here("schema", "init", file).returncode == 0
    assert file.read_text(encoding="utf-8") == STARTER_SCHEMA
    file.write_text(STARTER_SCHEMA + "\n# mine\n", encoding="utf-8")
    refused(here("schema", "init", file), "config_invalid")
    assert file.read_text(encoding="utf-8").endswith("# mine\n")  # what is there is kept
    refused(here("schema", "init", tmp_path / "nowhere" / "schema.toml"), "host_permissions")

    first = document(here("schema", "show", *on, "--json"))
    done = here("schema", "apply", file, *on, "--yes", "--json")
    answer = document(done)
    assert answer["version"] == 2
    rows = document(here("schema", "history", *on, "--json"))
    assert [row["version"] for row in rows] == [2, 1]
    assert rows[0]["applied_by"].startswith("host:")
    assert set(rows[0]) == {"version", "digest", "applied_by", "applied_at"}
    old = document(here("schema", "show", "--version", "1", *on, "--json"))
    assert (old["version"], old["document"], old["digest"]) == (1, first["document"], first["digest"])
    assert document(here("schema", "show", *on, "--json"))["version"] == 2
    refused(here("schema", "show", "--version", "3", *on), "not_found")
    assert here("schema", "show", "--version", "0", *on).returncode == 2
    page = here("schema", "history", "--limit", "1", *on)
    assert "more: --cursor 2" in page.stderr
    assert [
        row["version"] for row in document(here("schema", "history", "--cursor", "2", *on, "--json"))
    ] == [1]
