"""The files that `init` and `schema init` write."""

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

[identities]
admin = "operators"                 # who administers: people with a second factor; "any": services too

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
keyed = { delivery = ["plain"] }     # grants bound to a holder's key; sealed answers are always allowed

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

STARTER_SCHEMA = """\
# What is protected, and how: per cell and tenant. Keep what fits, change the rest.
# `coatcheck schema plan` shows what a change does and what it refuses; `coatcheck schema apply` applies it,
# without a restart. Every setting: docs/reference/schema.md

[purposes.support]
description = "Answer a customer's question"
legal_basis = "contract"              # GDPR 6(1)
activity = "RoPA-07"
disclosure_class = "internal"         # internal | tpo | non_tpo (HIPAA treatment, payment, operations or not)
bearer = { delivery = ["plain"], max_uses = 50, max_ttl = "PT15M" }

[retention.customer]
keep = "P2Y"
from = "event:account_closed"         # creation | last_use | event:NAME
max = "P10Y"                           # if the event never comes
[retention.payment]
keep = "P13M"
from = "creation"
period = "month"                       # due periods: day | month
[retention.conversation]
keep = "P30D"
from = "event:conversation_closed"
max = "P1Y"
[retention.key-lifetime]
keep = "key"                           # the only class `vaultless` can keep

[fields."customer.ssn"]
template = "ssn"
protection = "vaultless"
retention = "key-lifetime"
classification = "national-id"
rotation = "P1Y"
masks = { last4 = "***-**-{last:4}" }
tokenize_budget = { per_day = 1000000 }     # values, repeats count; per principal

[fields."customer.pan"]
template = "card(keep_last=4, luhn='break')"
protection = "vaultless"
retention = "key-lifetime"
small = "refuse"                       # refuse | vaulted | pass

[fields."customer.phone"]
template = "e164"
protection = "vaulted"
surrogate = "e164(country=1)"          # shaped, complete in itself; leave out for an opaque token
max_rows = 5000000
deterministic = "subject"              # none | subject | field (field implies subject = "required")
retention = "customer"

[fields."customer.email"]
template = "email"
protection = "vaulted"
deterministic = "field"
subject = "required"
normalize = "lowercase"                # before the blind index; the original comes back
retention = "customer"

[fields."customer.iban"]
template = "iban"
protection = "vaulted"
deterministic = "field"
subject = "required"
retention = "payment"

[fields."customer.birthdate"]
template = "date"
protection = "vaulted"
retention = "customer"

[fields."customer.name"]
template = "text(max=200)"
protection = "vaulted"
retention = "customer"

[fields."conversation.text"]
protection = "encrypted"
retention = "conversation"
max_bytes = 65536
"""
