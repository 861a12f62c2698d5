"""Who acts, looked up by id: people and API keys."""

from dataclasses import dataclass

from gateway.ports import Accounts, ApiKeys
from gateway.records import Principal

KEY_PREFIX = "key-"


@dataclass(frozen=True, kw_only=True)
class KnownPrincipals:
    accounts: Accounts
    keys: ApiKeys

    async def principal(self, principal_id: str) -> Principal | None:
        """The person or API key as it is now, if it may still act at all."""
        found: Principal | None
        if principal_id.startswith(KEY_PREFIX):
            kept = await self.keys.key(principal_id)
            found = kept[0] if kept else None
        else:
            found = await self.accounts.person(principal_id)
        return found if found and found.active else None
