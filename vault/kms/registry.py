"""All providers of this version. Importing this module makes their schemes known."""

from __future__ import annotations

from vault.kms import awskms, local, pkcs11, transit
from vault.kms.credentials import Credentials
from vault.kms.guard import Guard, GuardLimits, Standing
from vault.kms.provider import Provider, ProviderSettings, check_uri, open_provider

__all__ = [
    "Credentials", "Guard", "GuardLimits", "Provider", "ProviderSettings", "awskms", "check_uri", "local",
    "Standing", "open_provider", "pkcs11", "transit",
]  # fmt: skip
