"""Applying a schema: its version, the keys of its fields, and the look under the lock that nothing lives."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.errors import Stale
from vault.keyring.hierarchy import Purpose, new_field_key
from vault.ledger.command import Needs, State, Writes
from vault.schema.document import Schema
from vault.schema.plan import Bound, Plan, key_changes, make_plan
from vault.services.cell import Cell, Origin, TenantSchema
from vault.services.gate import CallerCommand, trace
from vault.services.living import Counted, living_grants
from vault.store.custody import FieldKeyRow

_NO_VERSION = 2**31 - 1  # above every version of a key


@dataclass(frozen=True, slots=True, repr=False)
class FieldKeyChanges:
    """What applying a schema does to field keys.

    Attributes:
        new: keys to insert.
        ended: (field, purpose, version): versions below that one protect nothing any more.
    """

    new: list[FieldKeyRow]
    ended: list[tuple[str, str, int]]


def plan_keys(cell: Cell, tenant: str, now: Schema, then: Schema) -> FieldKeyChanges:
    """The keys that new and changed fields need, each one version above those there were."""
    epoch = cell.keyring.epoch(cell.keyring.write_epoch)
    needed, gone = key_changes(now, then)
    new: list[FieldKeyRow] = []
    for field, purpose in sorted(needed):
        params = {"tenant": tenant, "field": field, "purpose": purpose}
        rows = cell.store.read(cell.store.custody.field_keys, params)
        version = 1 + max((FieldKeyRow(*row).version for row in rows), default=0)
        new.append(new_field_key(epoch, tenant, field, Purpose(purpose), version))
    versions = {(key.field, key.purpose): key.version for key in new}
    ended = [(*which, versions.get(which, _NO_VERSION)) for which in sorted(gone)]
    return FieldKeyChanges(new, ended)


class ApplySchema(CallerCommand):
    """Inserts a schema's version, with the keys of new fields; ends those of fields that are gone."""

    alone = True

    def __init__(
        self,
        caller: Caller,
        origin: Origin,
        now: TenantSchema,
        then: Schema,
        plan: Plan,
        bound: Bound,
        counted: Counted,
        keys: FieldKeyChanges,
    ) -> None:
        super().__init__(caller, now.head)
        self._origin = origin
        self._now = now
        self._then = then
        self._plan = plan
        self._bound = bound
        self._counted = counted
        self._keys = keys

    def needs(self, needs: Needs) -> None:
        """The caller's rows, what was handed out, and the living grants; and that nobody else commits."""
        super().needs(needs)
        tenant = self.caller.principal.tenant
        needs.settled = True
        needs.issued.update((tenant, name) for name in self._bound.fields)
        if self._bound.grants:
            needs.living_grants.add(tenant)

    def decide(self, state: State, writes: Writes) -> int:
        """The new version."""
        self.check(state)
        tenant = self.caller.principal.tenant
        if any(key.epoch != state.head.write_epoch for key in self._keys.new):
            raise Stale
        self._check_nothing_came_to_life(state, tenant)
        for key in self._keys.new:
            writes.insert("field_key", **key._asdict(), created_at=state.now)
        for field, purpose, version in self._keys.ended:
            writes.update(
                "end_field_keys", of_tenant=tenant, of_field=field, of_purpose=purpose, below=version
            )
        version = self._now.version + 1
        writes.insert(
            "schema",
            tenant=tenant,
            version=version,
            digest=self._then.digest,
            body=self._then.body,
            applied_by=self.caller.actor,
            applied_at=state.now,
        )
        writes.schema_by += 1
        writes.fence_by += 1
        facts = {
            "version": version,
            "digest": self._then.digest,
            "changes": [f"{change.action} {change.kind} {change.name}" for change in self._plan.changes],
            "keys": len(self._keys.new),
            "keys_ended": len(self._keys.ended),
            "credential": self.caller.api_key,
            **trace(self._origin),
        }
        writes.event(Event("schema.apply", tenant, self.caller.actor, facts))
        return version

    def _check_nothing_came_to_life(self, state: State, tenant: str) -> None:
        """Whether the plan still stands, by what is locked.

        Raises:
            Stale: values were handed out since they were counted, or grants were created.
        """
        for name in self._bound.fields:
            if state.issued.get((tenant, name), 0) != self._counted.issued.get(name, 0):
                raise Stale
        if self._bound.grants:
            grants = living_grants(state.living_grants.get(tenant, ()))
            living = replace(self._counted.living, grants=grants)
            if make_plan(self._now.schema, self._then, living).refusals:
                raise Stale
