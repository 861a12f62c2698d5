"""Taking in what bulk producers offer on a stream, as an upload of their API key; and what became of it."""

import asyncio
import base64
import binascii
import hashlib
import json
import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from gateway.dispatch import Dispatch
from gateway.errors import InvalidInputError, OfferRefusedError, StaleOfferError, UnprovedOfferError
from gateway.idempotency import Idempotency
from gateway.keys import Keys
from gateway.limits import Limits
from gateway.naming import file_name, web_address
from gateway.ports import OfferFates
from gateway.records import ApiKey, Fate
from gateway.submit import Submit, Upload
from sluice.access import Right
from sluice.errors import PermanentError, SluiceError
from sluice.messages import DocumentOffered
from sluice.offers import IDEMPOTENCY_KEY, Offer, proves

logger = logging.getLogger(__name__)
_MOST_ERRORS = 5
_FIELD = r"[a-z][a-z0-9_]{0,31}"


@dataclass(frozen=True, kw_only=True)
class OfferRules:
    """What an entry may weigh, and a document; how far a grant's time may lie from when the broker took it in."""

    entry_bytes: int
    document_bytes: int
    window: timedelta
    lifetime: timedelta
    """How old a grant may be when it is taken in at last: less than what was taken in before is remembered."""


@dataclass(frozen=True, kw_only=True)
class TakeOffer:
    keys: Keys
    fates: OfferFates
    idempotency: Idempotency
    limits: Limits
    submit: Submit
    dispatch: Dispatch
    rules: OfferRules

    async def __call__(self, offered: DocumentOffered, queued_at: datetime) -> None:
        """Accepts the document, once however often it is offered under its idempotency key.

        Raises:
            PermanentError: it is refused; `refuse` tells the producer why.
            TransientError: it cannot be accepted now, as too much is waiting or something is away.
        """
        key = await self._prove(offered)
        name, body_sha256 = idempotency_key_of(offered), _sha256(offered.body)
        known = await self.fates.find(key.id, name)
        remembered = known is not None and known.body_sha256 == body_sha256
        if known and remembered and known.job_id:
            return
        _check_time(offered.grant.time, None if remembered else queued_at, self.rules)
        offer = await asyncio.to_thread(_parse, offered.body)
        _check_rights(key, offer)
        upload = await asyncio.to_thread(_upload, offer, self.rules.document_bytes)
        if known and known.refused:
            await self.fates.forgive(key.id, name, body_sha256)
        claim = await self.idempotency.claim(key, name, body_sha256)
        if not claim.settled:
            async with self.limits.room(self.limits.documents, key.tenant.id):
                await self.submit(key, upload, offer.access_level, job_id=claim.id(), bulk=True, offered_at=queued_at)
            await self.idempotency.settle(claim)
            self.dispatch.wake()

    async def refuse(self, offered: DocumentOffered, queued_at: datetime, error: SluiceError) -> None:
        """Notes for the producer why their offer is dead. Whoever cannot prove that it is theirs is told nothing."""
        try:
            key = await self._prove(offered)
        except PermanentError:
            return
        seen = _sha256(offered.body)
        try:
            _check_time(offered.grant.time, queued_at, self.rules)
        except StaleOfferError:  # it may be a replay: it must not count as an offer that was seen in time
            seen = ""
        names = dict.fromkeys((idempotency_key_of(offered), offered.grant.nonce))
        await self.fates.refuse(key, list(names), seen, error.detail, datetime.now(UTC))

    async def _prove(self, offered: DocumentOffered) -> ApiKey:
        """The key that the offer was made with. Raises UnprovedOfferError."""
        found = await self.keys.with_digests(offered.grant.key_id)
        if found is None:
            raise UnprovedOfferError("the grant names an API key that there is not")
        key, digests = found
        if not await asyncio.to_thread(_proved, digests, offered):
            raise UnprovedOfferError("the grant's hmac is not that of this key and body")
        if not key.active:
            raise UnprovedOfferError("the API key was revoked, has expired, or its tenant or maker may not act")
        await self.keys.note_use(key)
        return key


def _proved(digests: list[bytes], offered: DocumentOffered) -> bool:
    return any(proves(digest, offered) for digest in digests)


def idempotency_key_of(offered: DocumentOffered) -> str:
    """The offer's own key, also where the rest of its body is wrong; else the grant's nonce."""
    try:
        body: Any = json.loads(offered.body)
        given = body["idempotency_key"]
    except (ValueError, LookupError, TypeError, RecursionError):
        given = None
    return given if isinstance(given, str) and re.fullmatch(IDEMPOTENCY_KEY, given) else offered.grant.nonce


def state_of(fate: Fate) -> str:
    """`refused`, or the state of its job; without a job any more, its document was deleted."""
    if fate.job_id is None:
        return "queued" if fate.refused is None else "refused"
    return fate.job_state or "deleted"


def _check_time(text: str, queued_at: datetime | None, rules: OfferRules) -> None:
    """Without the time at which it was queued for what passed this before, and is only too old when it is forgotten."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise StaleOfferError("grant.time: must be as in 2026-01-31T12:00:00Z (RFC 3339)") from error
    if time.tzinfo is None:
        raise StaleOfferError("grant.time: must have a zone, as in 2026-01-31T12:00:00Z")
    if queued_at is not None and abs(queued_at - time) > rules.window:
        seconds = round((time - queued_at).total_seconds())
        raise StaleOfferError(
            f"grant.time: {seconds:+} s from the broker's clock, at most {rules.window.seconds} may be"
        )
    if datetime.now(UTC) - time > rules.lifetime:
        raise StaleOfferError(f"grant.time: older than {rules.lifetime}: offer the document anew")


def _check_rights(key: ApiKey, offer: Offer) -> None:
    if Right.UPLOAD not in key.rights:
        raise OfferRefusedError(f"the API key has not the right {Right.UPLOAD}")
    if offer.access_level not in key.clearance.readable:
        raise OfferRefusedError(f"access_level: the API key may not write {offer.access_level} documents")


def _parse(body: str) -> Offer:
    try:
        return Offer.model_validate_json(body)
    except ValidationError as error:
        told = error.errors(include_url=False, include_context=False, include_input=False)
        raise OfferRefusedError("; ".join(map(_told, told[:_MOST_ERRORS]))) from None


def _told(error: Any) -> str:
    """A name that no field of ours could have is the producer's text, and no business of logs and operators."""
    field = str(error["loc"][0]) if error["loc"] else "body"
    return f"{field if re.fullmatch(_FIELD, field) else 'a field'}: {error['msg']}"


def _upload(offer: Offer, most_bytes: int) -> Upload:
    try:
        if offer.url is not None:
            address = web_address("url", offer.url)
            return Upload(name=file_name("name", offer.name) if offer.name else address, address=address)
        name, data = file_name("name", offer.name), _content(offer)
    except InvalidInputError as error:
        raise OfferRefusedError(f"{error.errors[0]['field']}: {error.errors[0]['message']}") from error
    if not data:
        raise OfferRefusedError("the document is empty")
    if len(data) > most_bytes:
        raise OfferRefusedError(f"the document has {len(data)} bytes, at most {most_bytes} may be")
    return Upload(name=name, data=data)


def _content(offer: Offer) -> bytes:
    if offer.text is not None:
        return offer.text.encode()
    try:
        return base64.b64decode(offer.content_base64 or "", validate=True)
    except binascii.Error as error:
        raise OfferRefusedError("content_base64: is not base64 (RFC 4648, with padding)") from error


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
