"""How often somebody may ask: counted in windows of time that all gateways share."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil

import prometheus_client

from gateway.errors import RateLimitedError
from gateway.ports import Counts
from gateway.records import ApiKey, Person
from gateway.settings import GatewaySettings
from sluice.errors import TransientError

logger = logging.getLogger(__name__)
_REFUSED = prometheus_client.Counter(
    "sluice_rate_limited_total", "Requests that were refused, by the limit that was used up.", ["limit"]
)
_UNCOUNTED = prometheus_client.Counter(
    "sluice_rate_uncounted_total", "Requests that were let through uncounted, since Redis was away."
)
_MINUTE, _DAY = 60, 86_400
_AWAY_SECONDS = 1.0
"""How long nobody is counted after Redis did not answer."""


@dataclass(frozen=True)
class Quota:
    """So many in a window; 0 means no limit. `name` is told in the header fields."""

    name: str
    most: int
    seconds: int


@dataclass(frozen=True)
class Standing:
    """How much of a quota is left, and in how many seconds all of it is there again."""

    quota: Quota
    left: int
    reset: int


class Rates:
    """Somebody's own quota is spent before their tenant's, so that who is over theirs takes nothing from others."""

    def __init__(self, counts: Counts, settings: GatewaySettings, *, clock: Callable[[], float] = time.time) -> None:
        self.counts = counts
        self._clock = clock
        self._of_person = Quota("person", settings.person_requests_per_minute, _MINUTE)
        self._of_key = Quota("key", settings.key_requests_per_minute, _MINUTE)
        self._of_tenant = Quota("tenant", settings.tenant_requests_per_minute, _MINUTE)
        self._questions = Quota("person-questions", settings.person_questions_per_minute, _MINUTE)
        self._daily = Quota("person-questions-day", settings.person_questions_per_day, _DAY)
        self._tenant_questions = Quota("tenant-questions", settings.tenant_questions_per_minute, _MINUTE)
        self._away_until = float("-inf")

    async def request(self, principal: Person | ApiKey, told: list[Standing]) -> None:
        """Counts a request; `told` is given the standings. Raises RateLimitedError."""
        own = self._of_key if isinstance(principal, ApiKey) else self._of_person
        await self._spend([(own, principal.id), (self._of_tenant, principal.tenant.id)], told)

    async def question(self, person: Person, told: list[Standing]) -> None:
        """Counts a question as `request` does. Raises RateLimitedError."""
        mine, tenant = person.id, person.tenant.id
        await self._spend([(self._questions, mine), (self._tenant_questions, tenant), (self._daily, mine)], told)

    async def _spend(self, quotas: Sequence[tuple[Quota, str]], told: list[Standing]) -> None:
        for quota, owner in quotas:
            if not quota.most:
                continue
            window, into = divmod(self._clock(), quota.seconds)
            used = await self._count(f"{quota.name}:{owner}:{int(window)}", quota.seconds)
            if used is None:
                return
            reset = ceil(quota.seconds - into)
            told.append(Standing(quota, max(0, quota.most - used), reset))
            if used > quota.most:
                _REFUSED.labels(quota.name).inc()
                each = "day" if quota.seconds == _DAY else "minute"
                raise RateLimitedError(
                    f"the limit {quota.name} of {quota.most} a {each} is used up: try again later",
                    retry_after=timedelta(seconds=reset),
                )

    async def _count(self, name: str, seconds: int) -> int | None:
        """None while Redis is away: who cannot be counted is let through, and each route says what it needs."""
        if time.monotonic() >= self._away_until:
            try:
                return await self.counts.add(name, seconds)
            except TransientError as error:
                self._away_until = time.monotonic() + _AWAY_SECONDS
                logger.warning("rates.not-counted", exc_info=error)
        _UNCOUNTED.inc()
        return None


def header_fields(standings: Sequence[Standing]) -> dict[str, str]:
    """RateLimit-Policy and RateLimit, as draft-ietf-httpapi-ratelimit-headers-10 has them."""
    if not standings:
        return {}
    policies = (f'"{each.quota.name}";q={each.quota.most};w={each.quota.seconds}' for each in standings)
    left = (f'"{each.quota.name}";r={each.left};t={each.reset}' for each in standings)
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(left)}
