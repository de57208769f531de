"""All providers of this version. Importing this module makes their schemes known."""

from __future__ import annotations

from vault.kms import local
from vault.kms.provider import Provider, ProviderSettings, open_provider

__all__ = ["Provider", "ProviderSettings", "local", "open_provider"]
