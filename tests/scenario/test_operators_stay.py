"""What operators prove themselves by outlasts a turn of the epoch, and not a restore of an old record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cells import HOST, BuiltCell, any_cell
from tests.support.operators import NAME, log_in, operator, passkey
from tests.support.turns import turn
from vault.errors import CoatcheckError, Unauthenticated
from vault.services.identities import whoami
from vault.services.operators import reset_mfa
from vault.services.passkeys import list_passkeys
from vault.services.second_factors import new_recovery_codes
from vault.services.sessions import PasskeyBody, passkey_options, passkey_sign_in
from vault.services.settle import Restored
from vault.wiring import as_host


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        yield made


def test_a_turn_keeps_every_factor(built: BuiltCell) -> None:
    session, device = operator(built)
    made = passkey(built, session)
    before = built.run(passkey_options, by="").options
    [sealed] = [row[2] for row in built.cell.store.read(built.cell.store.tables.totp.select())]
    assert turn(built).state == "done"
    assert built.cell.keyring.write_epoch == 2
    [after] = [row[2] for row in built.cell.store.read(built.cell.store.tables.totp.select())]
    assert bytes(after) == bytes(sealed)  # what it lies under was sealed anew, and it was not touched
    assert built.run(whoami, by=session).mfa == "passkey"
    assert log_in(built, code=device.code(built)).mfa == "totp"
    # A challenge from before the turn is still one: it hangs on no epoch.
    assert built.run(passkey_sign_in, PasskeyBody(made.sign(before)), by="").mfa == "passkey"


def test_an_old_record_lets_nobody_in(built: BuiltCell) -> None:
    session, device = operator(built)
    made = passkey(built, session)
    [code, *_] = built.run(new_recovery_codes, by=session).codes
    built.cell.committer.execute(Restored(as_host(), {}, {}, revoke=True))
    built.cell.forget()
    with pytest.raises(Unauthenticated, match="credential_invalid"):
        built.run(whoami, by=session)
    for given in (device.code(built), code, None):
        with pytest.raises(Unauthenticated, match="login_refused"):
            log_in(built, code=given)
    options = built.run(passkey_options, by="").options
    with pytest.raises(CoatcheckError, match="login_refused"):
        built.run(passkey_sign_in, PasskeyBody(made.sign(options)), by="")
    built.run(reset_mfa, NAME, "quartz meadow thimble", by=HOST)
    again = log_in(built, password="quartz meadow thimble")
    assert again.enrol
    assert built.run(list_passkeys, by=again.credential).items == []


def test_the_control_keeps_them(built: BuiltCell) -> None:
    session, device = operator(built)
    built.cell.committer.execute(Restored(as_host(), {}, {}, revoke=False))
    built.cell.forget()
    assert built.run(whoami, by=session).name == "operator:ada"
    assert log_in(built, code=device.code(built)).mfa == "totp"
