"""Which removals of keys are final: no backup brings those keys back, whatever else is put back.

A key that was gone before the flip of a turn lies in nothing that is sealed under the new epoch: backups
under that are made after the flip. What lies under the old one opens no more once its half and its root key
are destroyed, and a key store that only schedules the destruction of a root key may still take it back.
"""

from __future__ import annotations

import msgspec

from vault.clock import Micros, parse_time
from vault.store.cell import Store


def final_events(store: Store, now: Micros) -> int:
    """How many events the audit log had at the last flip whose old epoch is destroyed for good; 0 if none is.

    Keys that were seen to be gone by then stay gone. One turn that has not ended, or whose root key may still
    be taken back, ends the row: under its old epoch there may be backups of everything before it.
    """
    events = 0
    for row in store.read(store.work.turns):  # oldest first
        _, _, _, _, evidence, _, ended_at = row
        said = msgspec.json.decode(evidence)
        final_at = said.get("root_destroyed", {}).get("final_at")
        if not ended_at or (final_at is not None and parse_time(final_at) > now):
            break
        events = max(events, said.get("events_at_flip", 0))
    return events
