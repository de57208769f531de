"""The files that `init` writes."""

from __future__ import annotations

DEVELOPMENT = """\
# Written by `coatcheck init --dev`: two regions on this machine, to try things on. Not for real data.
mode = "development"

[listen]
address = "127.0.0.1:8700"          # COATCHECK_PORT changes the port

[cell.eu]
database = "sqlite:///eu.db"
kms = "local:keys/eu"
half_stores = ["keys/eu"]
key_file = "keys/eu/development.key" # in production: passphrase_file
schema = "schema.toml"

[cell.us]
database = "sqlite:///us.db"
kms = "local:keys/us"
half_stores = ["keys/us"]
key_file = "keys/us/development.key"
schema = "schema.toml"

[log]
format = "text"
level = "warning"
"""

PRODUCTION = """\
# Written by `coatcheck init`. Every setting: docs/reference/configuration.md
mode = "production"

[listen]
address = "127.0.0.1:8700"          # further only with [tls], or behind trusted_proxies

[cell.{region}]
database = "sqlite:///{region}.db"
kms = "local:keys/{region}"
half_stores = ["keys/{region}"]     # add a second one on another disk
{passphrase}schema = "schema.toml"
"""

DEVELOPMENT_SCHEMA = """\
# What is protected, and how. `coatcheck schema plan` shows what a change does; `apply` applies it.

[purposes.support]
description = "Answer a customer's question"
legal_basis = "contract"             # GDPR, article 6(1)
activity = "RoPA-07"
disclosure_class = "internal"
bearer = { delivery = ["plain"], max_uses = 50, max_ttl = "PT15M" }

[retention.key-lifetime]
keep = "key"                         # the only class that vaultless can keep

[retention.customer]
keep = "P2Y"
from = "creation"
period = "month"

[fields."customer.ssn"]
template = "ssn"
protection = "vaultless"
retention = "key-lifetime"
classification = "national-id"
masks = { last4 = "***-**-{last:4}" }

[fields."customer.pan"]
template = "card(keep_last=4, luhn='break')"
protection = "vaultless"
retention = "key-lifetime"
classification = "payment-card"
masks = { last4 = "**** **** **** {last:4}" }

[fields."customer.name"]
template = "text(max=200)"
protection = "vaulted"
retention = "customer"
classification = "name"
masks = { initial = "{first:1}." }

[fields."customer.email"]
template = "email"
protection = "vaulted"
deterministic = "field"              # equal addresses, one token; so each value names its person
normalize = "lowercase"              # before values are compared; the original comes back
retention = "customer"
classification = "contact"
masks = { domain = "***@{domain}" }

[fields."customer.note"]
template = "text(max=4000)"
protection = "vaulted"
retention = "customer"

[retention.conversation]
keep = "P30D"
from = "creation"
period = "day"

[fields."conversation.text"]
protection = "encrypted"             # the caller keeps the ciphertext
retention = "conversation"
max_bytes = 65536
"""
