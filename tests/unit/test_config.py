"""Settings: who overrides whom, and that nothing in them is ignored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vault import config as module
from vault.config import Config, build, find_file, load
from vault.config.checking import risks
from vault.config.database import OF_SERVERS, place_of, sslmode_of
from vault.errors import Misconfigured

BASE = Path("somewhere")
CELL = """
[cell.eu]
database = "sqlite:///eu.db"
kms = "local:keys/eu"
half_stores = ["keys/eu"]
"""


def document(**cell: Any) -> dict[str, Any]:
    """A smallest deployment; members of the cell may be replaced, or left out with None."""
    table = {"database": "sqlite:///eu.db", "kms": "local:keys/eu", "half_stores": ["keys/eu"], **cell}
    return {"cell": {"eu": {name: value for name, value in table.items() if value is not None}}}


def refused(text: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """The facts of the refusal of a file with this text."""
    with pytest.raises(Misconfigured) as refusal:
        build(module._toml(text), environment or {}, BASE)
    assert refusal.value.code == "config_invalid"
    return dict(refusal.value.facts)


class TestPrecedence:
    def test_defaults(self) -> None:
        config = build({}, {}, BASE)
        assert (config.mode, config.listen.address, config.development) == (
            "production",
            "127.0.0.1:8700",
            False,
        )
        assert (config.ledger.max_commands, config.ledger.queue) == (256, 4096)
        assert (config.limits.body_kib, config.limits.batch_mib, config.limits.items) == (256, 8, 10_000)
        assert (config.log.format, config.log.level) == ("json", "info")

    def test_the_file_is_above_the_defaults_and_the_environment_above_the_file(self) -> None:
        text = '[log]\nlevel = "error"\nformat = "text"\n[ledger]\nqueue = 10\n'
        config = build(module._toml(text), {"COATCHECK_LOG__LEVEL": "debug", "PATH": "/bin"}, BASE)
        assert (config.log.level, config.log.format) == ("debug", "text")
        assert (config.ledger.queue, config.ledger.max_commands) == (10, 256)

    def test_the_environment_speaks_of_cells_too(self) -> None:
        environment = {
            "COATCHECK_MODE": "development",
            "COATCHECK_CELL__EU__DATABASE": "sqlite:///other.db",
            "COATCHECK_CELL__EU__HALF_STORES": '["a", "b"]',
            "COATCHECK_LEDGER__QUEUE": "77",
        }
        config = build(document(), environment, BASE)
        assert config.cell["eu"].database == "sqlite:///other.db"
        assert config.cell["eu"].half_stores == ["a", "b"]
        assert (config.ledger.queue, config.development) == (77, True)

    def test_a_port_alone(self) -> None:
        assert build({}, {"COATCHECK_PORT": "9"}, BASE).host_and_port() == ("127.0.0.1", 9)
        text = '[listen]\naddress = "[::1]:1"\n'
        assert build(module._toml(text), {"COATCHECK_PORT": "65535"}, BASE).host_and_port() == ("::1", 65535)

    def test_the_flag_is_above_the_environment_above_the_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("COATCHECK_CONFIG", raising=False)
        assert find_file(None) == Path("coatcheck.toml")
        monkeypatch.setenv("COATCHECK_CONFIG", str(tmp_path / "env.toml"))
        assert find_file(None) == tmp_path / "env.toml"
        assert find_file(str(tmp_path / "flag.toml")) == tmp_path / "flag.toml"
        assert find_file(str(tmp_path)) == tmp_path / "coatcheck.toml"

    def test_variables_that_are_not_settings_are_left_alone(self) -> None:
        others = {f"COATCHECK_{name}": "x" for name in ("CONFIG", "URL", "KEY", "REGION", "FULL")}
        assert build({}, others, BASE) == build({}, {}, BASE)


UNKNOWN = [
    "colour = 1",
    "[colour]\nx = 1",
    "[listen]\ncolour = 1",
    "[ledger]\ncolour = 1",
    "[limits]\ncolour = 1",
    "[log]\ncolour = 1",
    f"{CELL}colour = 1",
    '[region.us]\nurl = "https://us.example"\ncolour = 1',
    'base = "/elsewhere"',
]


@pytest.mark.parametrize("text", UNKNOWN)
def test_an_unknown_key_is_refused_by_name(text: str) -> None:
    facts = refused(text)
    assert "colour" in str(facts) or facts["setting"] == "base"


@pytest.mark.parametrize("name", ["COATCHECK_COLOUR", "COATCHECK_BASE", "COATCHECK_LEVEL", "COATCHECK_"])
def test_an_unknown_variable_is_refused_by_name(name: str) -> None:
    assert refused("", {name: "1"})["setting"] == name


@pytest.mark.parametrize("name", ["COATCHECK_LOG__COLOUR", "COATCHECK_COLOUR__X", "COATCHECK_LISTEN__COLOUR"])
def test_an_unknown_section_or_key_of_a_variable_is_refused(name: str) -> None:
    assert "colour" in str(refused(CELL, {name: "1"}))


TLS = '[tls]\ncertificate = "tls.crt"\nkey = "tls.key"\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [("90", "is a duration like P90D"), ("P", "is a duration like P90D"), ("PT59M", "is at least an hour")],
)
def test_a_cryptoperiod_is_a_duration_of_an_hour_at_least(text: str, reason: str) -> None:
    found = refused(f'{CELL}rotation = "{text}"\n')
    assert found["setting"] == "cell.eu.rotation"
    assert str(found["reason"]).startswith(reason)
    build(
        {
            "cell": {
                "eu": {
                    "database": "sqlite:///eu.db",
                    "kms": "local:k",
                    "half_stores": ["k"],
                    "rotation": "P90D",
                }
            }
        },
        {},
        BASE,
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [("90", "is a duration like P1Y"), ("PT23H", "is at least a day"), ("", "is a duration like P1Y")],
)
def test_references_are_rotated_once_a_day_at_most(text: str, reason: str) -> None:
    found = refused(f'{CELL}reference_rotation = "{text}"\n')
    assert found["setting"] == "cell.eu.reference_rotation"
    assert str(found["reason"]).startswith(reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("90", "is a duration like P1Y"), ("P13D", "is at least two weeks"), ("", "is a duration like P1Y")],
)
def test_keys_of_messages_are_announced_before_they_are_replaced(text: str, reason: str) -> None:
    found = refused(f'{CELL}delivery_rotation = "{text}"\n')
    assert found["setting"] == "cell.eu.delivery_rotation"
    assert str(found["reason"]).startswith(reason)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("longest", "P", "is a duration like P90D"),
        ("longest", "PT59S", "is at least a minute"),
        ("overlap", "P32D", "is a month at most"),
        ("overlap", "tomorrow", "is a duration like P90D"),
        ("warning", "PT1S", "is at least a minute"),
    ],
)
def test_terms_of_service_keys(name: str, text: str, reason: str) -> None:
    found = refused(f'[keys]\n{name} = "{text}"\n')
    assert found["setting"] == f"keys.{name}"
    assert str(found["reason"]).startswith(reason)


def test_service_keys_last_for_ever_unless_somebody_says() -> None:
    keys = build({}, {}, BASE).keys
    assert (keys.longest, keys.overlap, keys.warning) == (None, "P7D", "P14D")
    keys = build({}, {"COATCHECK_KEYS__LONGEST": "P1Y"}, BASE).keys
    assert keys.longest == "P1Y"


def test_whether_serve_does_jobs_is_true_or_false() -> None:
    assert refused('[worker]\ninside = "perhaps"\n') == {
        "setting": "worker.inside", "reason": "is true or false",
    }  # fmt: skip
    assert build({}, {"COATCHECK_WORKER__INSIDE": "false"}, BASE).worker.inside is False


BEYOND = ["0.0.0.0:8700", "[::]:8700", "192.0.2.1:8700", "[::ffff:192.0.2.1]:1", "[2001:db8::1]:1"]
PLAIN = "plain HTTP is served on loopback only; configure tls, or listen.trusted_proxies"


@pytest.mark.parametrize("address", BEYOND)
def test_plain_http_stays_on_loopback(address: str) -> None:
    listen = f'[listen]\naddress = "{address}"\n'
    assert refused(listen) == {"setting": "listen.address", "reason": PLAIN}
    assert refused(listen + "trusted_proxies = []\n")["reason"] == PLAIN


@pytest.mark.parametrize("address", BEYOND)
def test_tls_goes_further_and_so_do_proxies(address: str) -> None:
    listen = f'[listen]\naddress = "{address}"\n'
    behind = build(module._toml(listen + 'trusted_proxies = ["10.0.0.0/8", "2001:db8::7"]\n'), {}, BASE)
    assert (behind.proxies_only, len(behind.trusted_proxies())) == (True, 2)
    secure = build(module._toml(listen + TLS), {}, BASE)
    assert not secure.proxies_only
    assert secure.url().startswith("https://")
    both = build(module._toml(listen + 'trusted_proxies = ["10.0.0.0/8"]\n' + TLS), {}, BASE)
    assert not both.proxies_only


@pytest.mark.parametrize("minimum", ["1.2", "1.1", "1.0", "1.4", "TLSv1.3", "3", ""])
def test_tls_is_1_3(minimum: str) -> None:
    facts = refused(f'{TLS}minimum = "{minimum}"\n')
    assert facts == {"setting": "tls.minimum", "reason": "is 1.3; nothing older is spoken"}


def test_tls_needs_both_files() -> None:
    assert refused('[tls]\ncertificate = "x"\n')["setting"] == "tls.key"
    assert refused('[tls]\nkey = "x"\n')["setting"] == "tls.certificate"
    assert refused("[tls]\n")["more"] == 1


@pytest.mark.parametrize(
    "text",
    ["10.0.0.1/8", "proxy", "", "10.0.0.0/33", "10.0.0", "*", "0x0a000001", "fe80::1%eth0/64", "10.0.0.0 /8"],
)
def test_a_proxy_is_a_network(text: str) -> None:
    assert refused(f'[listen]\ntrusted_proxies = ["10.0.0.0/8", "{text}"]\n')["setting"] == (
        "listen.trusted_proxies"
    )


@pytest.mark.parametrize(
    "address", ["0.0.0.0:8701", "192.0.2.1:1", "[::]:1", "example.com:1", "x", "127.0.0.1"]
)
def test_administrators_are_on_loopback(address: str) -> None:
    for more in ("", TLS):
        text = f'[listen]\nadmin_address = "{address}"\n{more}'
        assert refused(text)["setting"] == "listen.admin_address"


def test_administrators_have_a_port_of_their_own() -> None:
    assert refused('[listen]\nadmin_address = "[::1]:8700"\n')["reason"] == "has the port of listen.address"
    config = build(module._toml('[listen]\nadmin_address = "[::1]:8701"\n'), {}, BASE)
    assert config.admin_host_and_port() == ("::1", 8701)
    assert build({}, {}, BASE).admin_host_and_port() is None


SERVER = "postgresql+psycopg://coatcheck@db.example/eu"


class TestServers:
    """A cell on PostgreSQL."""

    @pytest.mark.parametrize(
        ("database", "place"),
        [
            (SERVER, (("db.example",), (5432,), "coatcheck", "eu")),
            (
                "postgresql+psycopg://a%40b@db1:5433,db2/e%2Du",
                (("db1", "db2"), (5433, 5432), "a@b", "e-u"),
            ),
            ("postgresql+psycopg://c@[2001:db8::1]:1/eu", (("2001:db8::1",), (1,), "c", "eu")),
            ("postgresql+psycopg://c@/eu?host=/run/pg", (("/run/pg",), (5432,), "c", "eu")),
        ],
    )
    def test_what_a_setting_names(self, database: str, place: tuple[Any, ...]) -> None:
        assert place_of(database) == place

    @pytest.mark.parametrize(
        ("database", "reason"),
        [
            ("postgresql+psycopg://c:canary@db/eu", "has a password in it; use database_password_file"),
            ("postgresql+psycopg://db/eu", "is sqlite:///PATH or"),
            ("postgresql+psycopg://c@db", "is sqlite:///PATH or"),
            ("postgresql+psycopg://c@db/", "is sqlite:///PATH or"),
            ("postgresql+psycopg://c@db/eu/x", "is sqlite:///PATH or"),
            ("postgresql+psycopg://c@db:0/eu", "is sqlite:///PATH or"),
            ("postgresql+psycopg://c@db:65536/eu", "is sqlite:///PATH or"),
            ("postgresql+psycopg://c@db,/eu", "is sqlite:///PATH or"),
            ("postgresql+psycopg://c@/eu", "is sqlite:///PATH or"),
            ("postgresql+psycopg://c@d b/eu", "is sqlite:///PATH or"),
            ("postgresql://c@db/eu", "is sqlite:///PATH or"),
            ("mysql://c@db/eu", "is sqlite:///PATH or"),
            ("postgresql+psycopg://c@db/eu?sslmode=disable", "takes only ?host=/FOLDER"),
            ("postgresql+psycopg://c@db/eu?password=canary", "takes only ?host=/FOLDER"),
            ("postgresql+psycopg://c@/eu?host=relative", "takes only ?host=/FOLDER"),
            ("postgresql+psycopg://c@/eu?host=/a&host=/b", "takes only ?host=/FOLDER"),
            ("postgresql+psycopg://c@db/eu?host=/run", "names a host and the folder of a socket"),
        ],
    )
    def test_what_it_does_not_take(self, database: str, reason: str) -> None:
        with pytest.raises(Misconfigured) as refusal:
            build(document(database=database), {}, BASE)
        assert refusal.value.facts["setting"] == "cell.eu.database"
        assert str(refusal.value.facts["reason"]).startswith(reason)
        assert "canary" not in str(refusal.value.facts)

    @pytest.mark.parametrize("host", ["db.example", "10.0.0.1", "127.0.0.1,10.0.0.1", "[2001:db8::1]"])
    @pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca"])
    def test_nothing_less_than_the_whole_of_tls_leaves_the_host(self, host: str, mode: str) -> None:
        made = document(database=f"postgresql+psycopg://c@{host}/eu", database_sslmode=mode)
        with pytest.raises(Misconfigured) as refusal:
            build(made, {}, BASE)
        assert refusal.value.facts["setting"] == "cell.eu.database_sslmode"
        config = build({**made, "mode": "development"}, {}, BASE)
        assert "cell.eu.database_sslmode" in [risk.setting for risk in risks(config)]

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "?host=/run/pg"])
    def test_what_stays_on_the_host_may_be_plain(self, host: str) -> None:
        rest = f"/eu{host}" if host.startswith("?") else f"{host}/eu"
        database = f"postgresql+psycopg://c@{rest}"
        config = build(document(database=database, database_sslmode="disable"), {}, BASE)
        assert "database_sslmode" not in str([*risks(config)])
        assert (
            sslmode_of(build(document(database=database), {}, BASE).cell["eu"], place_of(database))
            == "prefer"
        )

    def test_beyond_it_is_verified_without_being_told(self) -> None:
        cell = build(document(database=SERVER), {}, BASE).cell["eu"]
        assert sslmode_of(cell, place_of(SERVER)) == "verify-full"

    @pytest.mark.parametrize(
        ("more", "setting"),
        [
            ({"database_sslmode": "verify"}, "database_sslmode"),
            ({"database_password": "canary"}, "database_password"),
            ({"database_password": "env:X", "database_password_file": "x"}, "database_password"),
            ({"database_certificate": "x"}, "database_certificate"),
            ({"database_key": "x"}, "database_certificate"),
            ({"database_connections": 1}, "database_connections"),
        ],
    )
    def test_what_does_not_go_together(self, more: dict[str, Any], setting: str) -> None:
        with pytest.raises(Misconfigured) as refusal:
            build(document(database=SERVER, **more), {}, BASE)
        assert refusal.value.facts["setting"] == f"cell.eu.{setting}"
        assert "canary" not in str(refusal.value.facts)

    @pytest.mark.parametrize("name", OF_SERVERS)
    def test_a_file_has_no_server(self, name: str) -> None:
        with pytest.raises(Misconfigured, match="config_invalid") as refusal:
            build(document(**{name: "env:X"}), {}, BASE)
        assert refusal.value.facts["setting"] == f"cell.eu.{name}"

    def test_a_password_is_read_when_it_is_asked_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = build(document(database=SERVER, database_password_file="pw"), {}, tmp_path)
        with pytest.raises(Misconfigured, match="host_permissions"):
            config.database_password_of("eu")
        for text in ("one\n", "other"):
            (tmp_path / "pw").write_text(text)
            assert config.database_password_of("eu") == text.strip()
        config = build(document(database=SERVER, database_password="env:OF_THE_TEST"), {}, tmp_path)
        with pytest.raises(Misconfigured, match="config_invalid"):
            config.database_password_of("eu")
        monkeypatch.setenv("OF_THE_TEST", "third")
        assert config.database_password_of("eu") == "third"
        assert build(document(database=SERVER), {}, tmp_path).database_password_of("eu") is None

    def test_one_database_is_one_cell_s(self) -> None:
        made = document(database=SERVER)
        made["cell"]["us"] = {**made["cell"]["eu"], "database": SERVER.replace("coatcheck@", "other@")}
        with pytest.raises(Misconfigured) as refusal:
            build(made, {}, BASE)
        assert refusal.value.facts["reason"] == "is the database of cell.eu too"

    @pytest.mark.parametrize("other", ["us", "directory"])
    def test_one_key_store_is_one_cell_s_or_the_directory_s(self, other: str) -> None:
        """The end of a root version of the one would be the end of the other's keys."""
        table = document(database="sqlite:///other.db")["cell"]["eu"]
        made = document() | ({"directory": table} if other == "directory" else {})
        if other == "us":
            made["cell"]["us"] = table
        with pytest.raises(Misconfigured) as refusal:
            build(made, {}, BASE)
        place = "directory" if other == "directory" else "cell.us"
        assert refusal.value.facts["setting"] == f"{place}.kms"
        table["kms"] = "local:keys/other"
        build(made, {}, BASE)

    @pytest.mark.parametrize(
        "url", ["us.example", "ftp://us.example", "https://", "https://a:b@us.example", "https://us.example?x=1",
                "https://us.example#x", "https://us.example:0", "https://us.example:99999", "http://[", ""],
    )  # fmt: skip
    def test_an_address_that_is_told_is_a_plain_one(self, url: str) -> None:
        for made in (document(url=url), {**document(), "region": {"us": {"url": url}}}):
            with pytest.raises(Misconfigured) as refusal:
                build(made, {}, BASE)
            assert str(refusal.value.facts["setting"]).endswith(".url")
            assert "a:b" not in str(refusal.value.facts)
        for good in ("https://us.example", "http://127.0.0.1:8700", "https://[::1]:1/base"):
            assert build(document(url=good), {}, BASE).urls() == {"eu": good}

    @pytest.mark.parametrize("to", [["us"], ["eu"], [""]])
    def test_values_go_only_into_cells_of_the_same_file(self, to: list[str]) -> None:
        with pytest.raises(Misconfigured) as refusal:
            build(document(transfer_to=to), {}, BASE)
        assert refusal.value.facts["setting"] == "cell.eu.transfer_to"

    @pytest.mark.parametrize(
        ("more", "setting"),
        [
            ({"key": "ck_plain"}, "region.us.key"),
            ({"key": "env:KEY", "key_file": "us.key"}, "region.us.key_file"),
            ({"key_file": "us.key", "url": "http://us.example"}, "region.us.url"),
            ({"key_file": "us.key", "intake_key": "AAAA"}, "region.us.intake_key"),
        ],
    )
    def test_values_go_to_regions_that_there_is_a_key_of(self, more: dict[str, str], setting: str) -> None:
        url = {"url": "https://us.example"}
        good = {**document(transfer_to=["us"]), "region": {"us": url | {"key_file": "us.key"}}}
        assert build(good, {}, BASE).region["us"].keyed
        with pytest.raises(Misconfigured) as refusal:
            build({**document(), "region": {"us": url | more}}, {}, BASE)
        assert refusal.value.facts["setting"] == setting
        assert "ck_plain" not in str(refusal.value.facts)

    def test_several_processes(self) -> None:
        made = {**document(database=SERVER), "listen": {"workers": 4}}
        assert build(made, {}, BASE).listen.workers == 4
        made["cell"]["us"] = document(kms="local:keys/us")["cell"]["eu"]
        with pytest.raises(Misconfigured) as refusal:
            build(made, {}, BASE)
        assert refusal.value.facts == {
            "setting": "listen.workers", "reason": "is 1: a SQLite file is held by one process (cell.us)",
        }  # fmt: skip


def test_a_sqlite_cell_has_one_process() -> None:
    assert build({"listen": {"workers": 1}}, {}, BASE).listen.workers == 1
    for workers in (0, 65, -1):
        assert refused(f"[listen]\nworkers = {workers}\n")["setting"] == "listen.workers"


def test_there_is_no_waiting_window() -> None:
    assert build({"ledger": {"max_wait_ms": 0}}, {}, BASE).ledger.max_wait_ms == 0
    facts = refused("[ledger]\nmax_wait_ms = 1\n")
    assert facts["setting"] == "ledger.max_wait_ms"
    assert facts["reason"].startswith("is 0: ")


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", ":8700", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:-1", "127.0.0.1:65536", "127.0.0.1:８７",
     "127.0.0.1: 1", "127.0.0.1:1e3", "127.0.0.1:" + "9" * 5_000, ""],
)  # fmt: skip
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    assert refused(f'[listen]\naddress = "{address}"\n')["reason"] == "is not host:port"


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "127.0.0.1.example.com",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "127.0.0.1%eth0",
        "[fe80::1%eth0]",
    ],
)
def test_a_host_is_an_address(host: str) -> None:
    for more in ("", TLS):
        facts = refused(f'[listen]\naddress = "{host}:1"\n{more}')
        assert facts["reason"] == "names a host, not an IP address or localhost"


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.200.0.1:1", "[::1]:65535", "localhost:8700"])
def test_loopback_is_served(address: str) -> None:
    assert build({"listen": {"address": address}}, {}, BASE).host_and_port()[1] >= 0


def test_a_key_file_is_for_development_only() -> None:
    table = document(key_file="keys/eu/key")
    assert build({"mode": "development", **table}, {}, BASE).cell["eu"].key_file == "keys/eu/key"
    for mode in ({}, {"mode": "production"}):
        with pytest.raises(Misconfigured) as refusal:
            build({**mode, **table}, {}, BASE)
        assert refusal.value.facts["setting"] == "cell.eu.key_file"


def test_paths_are_relative_to_the_file() -> None:
    config = build(document(), {}, Path("/etc/coatcheck"))
    assert config.path("keys/eu") == Path("/etc/coatcheck/keys/eu")
    assert config.path("/var/keys") == Path("/var/keys")


class TestPassphrase:
    def test_from_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "pass").write_bytes(b"correct horse\r\n")
        config = build(document(passphrase_file="pass"), {}, tmp_path)
        secret = config.passphrase_of("eu")
        assert secret is not None
        assert secret.expose() == b"correct horse"

    def test_from_a_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        config = build(document(passphrase="env:EU_PASSPHRASE"), {}, BASE)
        monkeypatch.setenv("EU_PASSPHRASE", "correct horse")
        secret = config.passphrase_of("eu")
        assert secret is not None
        assert secret.expose() == b"correct horse"
        monkeypatch.setenv("EU_PASSPHRASE", "")
        with pytest.raises(Misconfigured, match="config_invalid"):
            config.passphrase_of("eu")

    def test_from_neither(self) -> None:
        assert build(document(), {}, BASE).passphrase_of("eu") is None

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(Misconfigured, match="host_permissions"):
            build(document(passphrase_file="gone"), {}, tmp_path).passphrase_of("eu")

    def test_never_in_the_file_itself_and_not_repeated(self) -> None:
        with pytest.raises(Misconfigured) as refusal:
            build(document(passphrase="canary-7f3a91"), {}, BASE)
        assert refusal.value.facts["setting"] == "cell.eu.passphrase"
        assert "canary" not in str(refusal.value.facts)

    def test_one_source_only(self) -> None:
        with pytest.raises(Misconfigured) as refusal:
            build(document(passphrase="env:X", passphrase_file="y"), {}, BASE)
        assert refusal.value.facts["setting"] == "cell.eu"


BAD_VALUES: dict[str, str] = {
    "mode": 'mode = "staging"',
    "mode type": "mode = 1",
    "cell type": 'cell = "x"',
    "cell.eu type": 'cell.eu = "x"',
    "region name": CELL.replace("cell.eu", 'cell."E U"'),
    "empty region name": CELL.replace("cell.eu", 'cell.""'),
    "no database": CELL.replace('database = "sqlite:///eu.db"', ""),
    "database": CELL.replace("sqlite:///eu.db", "mysql://x"),
    "postgresql": CELL.replace("sqlite:///eu.db", "postgresql+psycopg://x"),
    "empty database": CELL.replace("sqlite:///eu.db", "sqlite:///"),
    "no half-stores": CELL.replace('["keys/eu"]', "[]"),
    "half-stores type": CELL.replace('["keys/eu"]', '"keys/eu"'),
    "the same half-store twice": CELL.replace('["keys/eu"]', '["keys/eu", "./keys/eu"]'),
    "one database for two": CELL + CELL.replace("cell.eu", "cell.us"),
    "listen type": 'listen = "x"',
    "address type": "[listen]\naddress = 8700",
    "queue too small": "[ledger]\nqueue = 0",
    "queue too large": "[ledger]\nqueue = 1000001",
    "queue far too large": f"[ledger]\nqueue = {10**30}",
    "queue type": '[ledger]\nqueue = "10"',
    "queue flag": "[ledger]\nqueue = true",
    "queue fraction": "[ledger]\nqueue = 1.5",
    "max_commands": "[ledger]\nmax_commands = 4097",
    "body_kib": "[limits]\nbody_kib = 0",
    "batch_mib": "[limits]\nbatch_mib = 257",
    "items": "[limits]\nitems = -1",
    "log format": '[log]\nformat = "xml"',
    "log level": '[log]\nlevel = "INFO"',
    "date": "[log]\nlevel = 2026-11-23",
    "region type": "region.us = 1",
}


@pytest.mark.parametrize("case", BAD_VALUES)
def test_a_bad_value_is_refused(case: str) -> None:
    refused(BAD_VALUES[case])


@pytest.mark.parametrize(
    "environment",
    [
        {"COATCHECK_LEDGER__QUEUE": "ten"},
        {"COATCHECK_LEDGER__QUEUE": "1\nmode = 2"},
        {"COATCHECK_LEDGER__QUEUE": "[" * 20_000},
        {"COATCHECK_LEDGER__QUEUE": "9" * 10_000},
        {"COATCHECK_LOG__LEVEL": "true"},
        {"COATCHECK_PORT": "http"},
        {"COATCHECK_PORT": "80:80"},
        {"COATCHECK_MODE__X": "1", "COATCHECK_MODE": "production"},
        {"COATCHECK_LOG": "json"},
        {"COATCHECK_LOG__": "json"},
        {"COATCHECK_CELL__EU": "x"},
        {"COATCHECK_CELL__EU__HALF_STORES": "keys"},
        {"COATCHECK_CELL__EU__HALF_STORES__X": "keys"},
    ],
)
def test_a_bad_variable_is_refused(environment: dict[str, str]) -> None:
    refused(CELL, environment)


def test_a_port_beside_a_listener_that_is_no_table() -> None:
    assert refused('listen = "x"', {"COATCHECK_PORT": "1"})["setting"] == "listen"


HOSTILE: dict[str, Callable[[], bytes]] = {
    "not TOML": lambda: b"mode = ",
    "a key twice": lambda: b'mode = "production"\nmode = "production"',
    "a table twice": lambda: b"[log]\n[log]\n",
    "invalid UTF-8": lambda: b'mode = "\xff"',
    "UTF-16": lambda: 'mode = "production"'.encode("utf-16"),
    "NUL": lambda: b'mode = "\x00"',
    "deep nesting": lambda: b"x = " + b"[" * 20_000 + b"]" * 20_000,
    "deep inline tables": lambda: b"x = " + b"{a = " * 20_000 + b"1" + b"}" * 20_000,
    "a key of 3,000 parts": lambda: b".".join([b"a"] * 3_000) + b" = 1",
    "a region of 3,000 parts": lambda: b"cell." + b".".join([b"a"] * 3_000) + b" = 1",
    "a number of 10,000 digits": lambda: b"x = " + b"9" * 10_000,
    "no such date": lambda: b"x = 2026-02-30",
    "a key of 1 MB": lambda: b"a" * 1_000_000 + b" = 1",
    "100,000 keys": lambda: b"\n".join(b"k%d = 1" % n for n in range(100_000)),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_toml_is_refused_and_nothing_else_happens(case: str, tmp_path: Path) -> None:
    path = tmp_path / "coatcheck.toml"
    path.write_bytes(HOSTILE[case]())
    with pytest.raises(Misconfigured) as refusal:
        load(path)
    assert refusal.value.code == "config_invalid"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="not_initialised"):
        load(tmp_path / "coatcheck.toml")
    with pytest.raises(Misconfigured, match="host_permissions"):
        load(tmp_path)


def test_a_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COATCHECK_PORT", "COATCHECK_MODE"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "coatcheck.toml"
    text = f'mode = "development"\n{CELL}url = "https://eu.example"\nschema = "schema.toml"\n'
    path.write_text(text + '[region.us]\nurl = "https://us.example"\n', encoding="utf-8")
    config = load(path)
    assert isinstance(config, Config)
    assert config.path("eu.db") == tmp_path / "eu.db"
    assert config.cell["eu"].url == "https://eu.example"
    assert config.region["us"].url == "https://us.example"
