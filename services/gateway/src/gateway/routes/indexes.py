"""/api/v1/indexes: for operators, by their own token. The work is done by the ingest-workers, and asked for by task."""

from http import HTTPStatus

from fastapi import APIRouter, Depends
from pydantic import Field

from gateway.routes.dependencies import ServicesIn, operator
from gateway.routes.identity import Slug
from gateway.routes.schemas import Body, IdPath, LevelIn, Output
from sluice.access import Level

router = APIRouter(prefix="/api/v1/indexes", tags=["operators"], dependencies=[Depends(operator)])


class RebuildIn(Body):
    tenant: Slug
    access_level: LevelIn | None = Field(default=None, description="Both when not given.")


class VerifyIn(Body):
    tenant: Slug | None = Field(default=None, description="All tenants when not given.")
    access_level: LevelIn | None = Field(default=None, description="Both when not given.")


class IndexTaskOut(Output):
    """A collection's task. `rows` stand in the index now; `missing` of what the blob store holds are not among them,
    `extra` are in the index alone, `unusable` in the blob store cannot be read or were embedded with another model."""

    id: str
    tenant: str
    access_level: Level
    kind: str
    state: str = Field(description="queued, rebuilding, done or failed.")
    rows: int
    missing: int
    extra: int
    unusable: int
    error: str | None


class IndexTasksOut(Output):
    tasks: list[IndexTaskOut]


@router.post("/rebuild", status_code=HTTPStatus.ACCEPTED)
async def post_rebuild(body: RebuildIn, services: ServicesIn) -> IndexTasksOut:
    """Makes a tenant's collections anew from the blob store; the old ones are read until the new ones are whole."""
    tasks = await services.indexes.rebuild(body.tenant, _levels(body.access_level))
    return IndexTasksOut(tasks=[IndexTaskOut.model_validate(task) for task in tasks])


@router.post("/verify", status_code=HTTPStatus.ACCEPTED)
async def post_verify(body: VerifyIn, services: ServicesIn) -> IndexTasksOut:
    """Compares the index with the blob store."""
    tasks = await services.indexes.verify(body.tenant, _levels(body.access_level))
    return IndexTasksOut(tasks=[IndexTaskOut.model_validate(task) for task in tasks])


@router.get("/tasks/{task_id}")
async def get_task(task_id: IdPath, services: ServicesIn) -> IndexTaskOut:
    """How far it is; known for a day."""
    return IndexTaskOut.model_validate(await services.indexes.task(task_id))


def _levels(level: Level | None) -> tuple[Level, ...]:
    return tuple(Level) if level is None else (level,)
