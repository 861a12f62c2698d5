"""The use case: why somebody could see a passage, or could not. The rule that decides now, and what the log tells."""

from dataclasses import dataclass

from gateway.errors import NotFoundError
from gateway.login import SIGN_INS
from gateway.ports import Accounts, AuditTrail, Catalog, Fixes
from gateway.records import DocumentState, Person
from gateway.trail import check_reader
from sluice.access import Level, Right
from sluice.audit import AuditRecord

_RECORDS = 50


@dataclass(frozen=True, kw_only=True)
class Source:
    """A document or fix as it is now; no level: it is gone."""

    id: str
    access_level: Level | None
    going: bool = False


@dataclass(frozen=True, kw_only=True)
class Why:
    """`rule` decides now; `given` are the retrievals that gave it to them, `changes` what was done to either."""

    person: Person
    source: Source
    may_see: bool
    rule: str
    given: list[AuditRecord]
    changes: list[AuditRecord]


@dataclass(frozen=True, kw_only=True)
class ExplainAccess:
    accounts: Accounts
    catalog: Catalog
    fixes: Fixes
    trail: AuditTrail

    async def __call__(self, admin: Person, person_id: str, *, document_id: str | None, passage_id: str | None) -> Why:
        """
        Raises:
            AccessDeniedError: the admin is not INTERNAL.
            NotFoundError: the person, document or passage is not there, or not of the admin's tenant.
        """
        check_reader(admin)
        person = await self.accounts.person(person_id)
        if person is None or person.tenant.id != admin.tenant.id:
            raise NotFoundError("there is no such person")
        source_id = document_id or await self._source_of(admin, passage_id or "")
        source = await self._source(admin, source_id)
        given = await self.trail.retrievals(
            admin.tenant.id, _RECORDS, passage_id=passage_id, document_id=source_id, person_id=person.id
        )
        changes = await self.trail.page(admin.tenant.id, _RECORDS, None, target=source_id)
        if source.access_level is None and not given and not changes:
            raise NotFoundError("there is no such document or passage")
        changes += await self.trail.page(admin.tenant.id, _RECORDS, None, target=person.id, without=SIGN_INS)
        may_see, rule = decide(person, source)
        changes.sort(key=lambda record: -record.sequence)
        return Why(person=person, source=source, may_see=may_see, rule=rule, given=given, changes=changes)

    async def _source_of(self, admin: Person, passage_id: str) -> str:
        """A passage is known by the retrievals that gave it to anybody; a fix is its own passage."""
        found = await self.trail.retrievals(admin.tenant.id, 1, passage_id=passage_id, document_id=None, person_id=None)
        for passage in (p for record in found for p in record.detail["passages"]):
            if passage["passage_id"] == passage_id:
                return str(passage["document_id"])
        return passage_id

    async def _source(self, admin: Person, source_id: str) -> Source:
        if document := await self.catalog.document(admin.tenant.id, source_id):
            going = document.state is DocumentState.DELETING
            return Source(id=source_id, access_level=document.access_level, going=going)
        if fix := await self.fixes.fix(admin.tenant.id, source_id):
            return Source(id=source_id, access_level=fix.access_level)
        return Source(id=source_id, access_level=None)


def decide(person: Person, source: Source) -> tuple[bool, str]:
    """Whether a question of theirs may be given it now, and the first rule that says so."""
    if not person.active:
        return False, "suspended: the person, or their tenant, may not act"
    if Right.READ not in person.rights:
        return False, "no-right: the person was not granted the right to read"
    if source.access_level is None or source.going:
        return False, "gone: it was deleted, or is being deleted"
    if source.access_level not in person.clearance.readable:
        return False, f"level: it is {source.access_level}, and the person's clearance is {person.clearance}"
    return True, f"level: it is {source.access_level}, within the person's clearance {person.clearance}"
