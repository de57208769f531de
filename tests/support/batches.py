"""Batches of transfers, as the service of another region makes them."""

from __future__ import annotations

import msgspec

from vault.crypto import crossing, hpke
from vault.crypto.base64url import decode, encode
from vault.identifiers import new_id
from vault.services.crossing import ENTER, Batch, BatchBody, SentValue


def a_batch_to(x: str, tenant: str, field: str, value: str, person: str) -> BatchBody:
    """One value on its way from us to eu.

    Args:
        x: of the target's intake key.
    """
    public = decode(x)
    transfer = new_id("xfer")
    batch = Batch(
        step=ENTER, tenant=tenant, reply=encode(hpke.keypair()[1]), legal_basis="contract",
        person=person, values=[SentValue("00" * 15 + "01", field, value)],
    )  # fmt: skip
    sealed = hpke.seal(public, crossing.info("us", "eu", transfer, 1), msgspec.json.encode(batch))
    return BatchBody("us", transfer, 1, encode(sealed))
