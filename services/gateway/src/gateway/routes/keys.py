"""/api/v1/keys: the API keys of the admin's tenant."""

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter
from pydantic import AwareDatetime, Field, StringConstraints

from gateway.records import ApiKey
from gateway.routes.dependencies import Admin, ServicesIn
from gateway.routes.schemas import Body, IdPath, LevelIn, Listing, Output, PageIn, RightsIn, Text, listing
from sluice.access import Level, Right

router = APIRouter(prefix="/api/v1/keys", tags=["keys"])


class KeyIn(Body):
    name: Annotated[Text, StringConstraints(max_length=200)]
    rights: RightsIn
    clearance: LevelIn = Field(description="The highest level that the key may read or write.")
    expires_at: Annotated[AwareDatetime, Field(strict=False)] | None = None


class KeyOut(Output):
    id: str
    name: str
    tenant: str
    clearance: Level
    rights: list[Right]
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute; null when it was never used.")
    previous_until: datetime | None = Field(description="How long the secret before the last rotation is good.")
    active: bool = Field(
        description="Whether it may act now: not when it was revoked or has expired, or its maker is suspended or gone."
    )


class RotationIn(Body):
    overlap_seconds: Annotated[int, Field(ge=0, le=7 * 86_400)] = Field(
        default=0, description="How long the present secret stays good; 0 ends it at once."
    )


class NewKeyOut(KeyOut):
    key: str = Field(description="The key itself. It is shown this once, and kept nowhere.")


@router.post("", status_code=HTTPStatus.CREATED)
async def post_key(body: KeyIn, admin: Admin, services: ServicesIn) -> NewKeyOut:
    new = await services.keys.make(admin, body.name, body.rights, body.clearance, body.expires_at)
    return NewKeyOut(**_out(new.key).model_dump(), key=new.text)


@router.get("")
async def get_keys(admin: Admin, services: ServicesIn, page: PageIn) -> Listing[KeyOut]:
    """Also those that were revoked or have expired."""
    rows = await services.keys.page(admin, page)
    return listing(rows, page, _out, lambda row: (row.created_at, row.id))


@router.post("/{key_id}/rotate")
async def post_rotation(key_id: IdPath, body: RotationIn, admin: Admin, services: ServicesIn) -> NewKeyOut:
    """Gives the key a new secret."""
    new = await services.keys.rotate(admin, key_id, timedelta(seconds=body.overlap_seconds))
    return NewKeyOut(**_out(new.key).model_dump(), key=new.text)


@router.delete("/{key_id}", status_code=HTTPStatus.NO_CONTENT)
async def delete_key(key_id: IdPath, admin: Admin, services: ServicesIn) -> None:
    """Revokes the key at once and for good."""
    await services.keys.revoke(admin, key_id)


def _out(key: ApiKey) -> KeyOut:
    """With what it was granted; what it has of that now it is told by /api/v1/me."""
    given = {"tenant": key.tenant.slug, "rights": sorted(key.granted), "clearance": key.ceiling}
    return KeyOut.model_validate(
        {name: getattr(key, name) for name in KeyOut.model_fields if name not in given} | given
    )
