"""Regions: which there are, and in which a person is."""

from __future__ import annotations

import msgspec

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.errors import BadInput, CoatcheckError, Denied, Unknown
from vault.identifiers import new_id
from vault.ledger.command import Needs, State, Verb, Writes
from vault.services.cell import Cell, Origin
from vault.services.gate import CallerCommand, Request, admit, authenticate, trace
from vault.services.hidden import Hidden
from vault.services.listing import Listing
from vault.services.subjects import check_subject

LOOKUP = "directory.lookup"


class RegionAnswer(Hidden, frozen=True, omit_defaults=True):
    """A region.

    Attributes:
        url: where its service is reached.
        here: whether this service hosts it.
    """

    region: str
    url: str
    here: bool = False


class LookupBody(Hidden, forbid_unknown_fields=True, frozen=True):
    """Whose region is wanted."""

    subject: str


class Place(Hidden, frozen=True):
    """A region and where it is reached."""

    region: str
    url: str


class LookupAnswer(Hidden, frozen=True, omit_defaults=True):
    """Where a person is.

    Attributes:
        also: further regions that have the person, such as after a transfer that kept its source.
    """

    region: str
    url: str
    decision: str
    also: list[Place] = msgspec.field(default_factory=list)


class CountLookup(CallerCommand):
    """Counts a look-up, inside the caller's budget. Returns from `decide`: the refusal, or None.

    The log says who asked, and never about whom.
    """

    def __init__(self, caller: Caller, origin: Origin, most: int) -> None:
        super().__init__(caller)
        self.decision = new_id("dec")
        self._origin = origin
        self._most = most
        self._counter = (str(caller.principal.id), LOOKUP)

    def needs(self, needs: Needs) -> None:
        """The caller's rows and its count of the day."""
        super().needs(needs)
        needs.counters.add(self._counter)

    def decide(self, state: State, writes: Writes) -> CoatcheckError | None:
        """Counts it, hit or miss: of what was found it knows nothing."""
        self.check(state)
        refusal = None
        facts = {"credential": self.caller.api_key, **trace(self._origin)}
        if state.counters.get(self._counter, 0) >= self._most:
            refusal = Denied("budget_exhausted", decision=self.decision)
            facts |= {"outcome": "denied", "code": refusal.code}
        else:
            writes.count(self._counter, 1)
        tenant = self.caller.principal.tenant
        writes.event(Event(LOOKUP, tenant, self.caller.actor, facts, decision=self.decision))
        return refusal


def list_regions(cell: Cell, request: Request) -> Verb[Listing]:
    """The regions that this service knows, by name."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "region.list")
    hosted = {cell.region, *cell.neighbours}
    rows = [RegionAnswer(name, url, name in hosted) for name, url in sorted(cell.regions.items())]
    return Listing(rows, None)


def look_up(cell: Cell, request: Request, body: LookupBody) -> Verb[LookupAnswer]:
    """In which region a person is.

    Raises:
        Unauthenticated, Denied: the caller may not, or has asked too often today; on the record.
        BadInput: `subject_invalid`; `operation_unsupported`: this deployment has no directory.
        Unknown: `not_found`: no region has that person.
        Unavailable: `directory_unavailable`.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, LOOKUP, "directory:lookup")
    if cell.directory is None:
        raise BadInput("operation_unsupported", setting="directory")
    check_subject(body.subject)
    # Looked at before, told after: by then it is on the record. A directory that is away costs nothing.
    found = cell.directory.find(caller.principal.tenant, body.subject)
    counted = CountLookup(caller, request.origin, cell.directory.lookups_per_day)
    done = yield counted
    if done.value is not None:
        raise done.value
    if not found:
        raise Unknown("not_found", decision=counted.decision)
    # This one first: whoever asks here can go on here.
    first, *others = sorted(found, key=lambda name: (name != cell.region, name))
    also = [Place(name, cell.regions.get(name, "")) for name in others]
    return LookupAnswer(first, cell.regions.get(first, ""), counted.decision, also)
