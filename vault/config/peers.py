"""The cells of other processes that transfers may go to, as the settings say."""

from __future__ import annotations

import re
from functools import partial
from typing import Final

from vault.config.settings import Config
from vault.crypto.base64url import decode
from vault.errors import Misconfigured
from vault.services.peers import Peer, tls_of

_SENDABLE: Final = re.compile(r"[!-~]+")


def peers_of(config: Config, source: str) -> dict[str, Peer]:
    """The cells of other processes that values may be transferred into, as the settings say."""
    found = {}
    for name, region in config.region.items():
        if not region.keyed:
            continue
        ca = None if region.ca is None else str(config.path(region.ca))
        tls = partial(tls_of, ca, f"region.{name}.ca") if region.url.lower().startswith("https://") else None
        pinned = None if region.intake_key is None else decode(region.intake_key)
        found[name] = Peer(region.url, name, source, partial(region_key, config, name), pinned, tls)
    return found


def region_key(config: Config, region: str) -> str:
    """The service key of another region, as it is now.

    Raises:
        Misconfigured: `host_permissions`, `config_invalid`.
    """
    key = config.region_key_of(region) or ""
    in_file = config.region[region].key_file is not None
    key = key.strip() if in_file else key
    if not _SENDABLE.fullmatch(key):
        setting = f"region.{region}.key_file" if in_file else f"region.{region}.key"
        raise Misconfigured("config_invalid", setting=setting, reason="holds one service key")
    return key
