"""Planting the canaries, and waiting until those who may see them do: else the test would prove nothing."""

import time
from collections.abc import Callable
from typing import Any

from sluice.access import Level
from sluice.cli.selftest.askers import Asker, ask
from sluice.cli.selftest.holdings import Canary, Thing
from sluice.cli.selftest.stage import API, Stage, call
from sluice.errors import PermanentError

_TOPICS = {
    ("document", Level.EXTERNAL): "north gate",
    ("document", Level.INTERNAL): "wine cellar",
    ("fix", Level.EXTERNAL): "harbour lamp",
    ("fix", Level.INTERNAL): "attic stairs",
}
_PAUSE_SECONDS = 0.2
_JSON = {"Accept": "application/json"}


def plant(stage: Stage) -> None:
    """Raises PermanentError when something is not found by who may see it within the time."""
    planted = [_plant(stage, admin, *what) for admin in (stage.host, stage.neighbour) for what in _TOPICS.items()]
    for there, name in planted:
        _until(stage, there, name)
    for admin in (stage.host, stage.neighbour):
        for level in Level:
            _until(
                stage, lambda admin=admin, level=level: _found(stage, admin, admin, level), f"{level} of {admin.name}"
            )
        _private(stage, admin)
        stage.things.append(Thing(parameter="person_id", id=admin.id, tenant=admin.tenant, level=Level.EXTERNAL))
    outsider = stage.named("EXTERNAL reader")
    _until(stage, lambda: _found(stage, stage.host, outsider, Level.EXTERNAL), "EXTERNAL, for an EXTERNAL reader")


def still_there(stage: Stage) -> list[str]:
    """What the hosts do not find any more: somebody removed it on their way."""
    return [
        f"{level} of {admin.tenant} is not found any more by its {admin.name}"
        for admin in (stage.host, stage.neighbour)
        for level in Level
        if not _found(stage, admin, admin, level)
    ]


def _plant(stage: Stage, admin: Asker, where: tuple[str, Level], topic: str) -> tuple[Callable[[], bool], str]:
    """Whether it has been taken in, to be asked until it has; and its name."""
    place, level = where
    canary = Canary(tenant=admin.tenant, level=level, place=place, topic=topic)
    stage.canaries.append(canary)
    return (_document if place == "document" else _fix)(stage, admin, canary), canary.name


def _document(stage: Stage, admin: Asker, canary: Canary) -> Callable[[], bool]:
    made = call(
        admin,
        "POST",
        f"{API}/knowledge/documents",
        files=[("files", (f"{canary.word}.txt", canary.sentence.encode()))],
        data={"access_level": canary.level},
    )
    job = made["jobs"][0]
    for parameter in ("job_id", "document_id"):
        stage.things.append(_thing(canary, parameter, job[parameter]))

    def ended() -> bool:
        state = call(admin, "GET", f"{API}/knowledge/jobs/{job['job_id']}")["state"]
        if state == "failed":
            raise PermanentError(f"the {canary.name} could not be planted: its job failed")
        return state == "done"

    return ended


def _fix(stage: Stage, admin: Asker, canary: Canary) -> Callable[[], bool]:
    body = {"question": canary.question, "answer": canary.sentence, "access_level": canary.level}
    fix_id = call(admin, "POST", f"{API}/knowledge/fixes", json=body)["id"]
    stage.ends.later(admin, "DELETE", f"{API}/knowledge/fixes/{fix_id}")
    stage.things.append(_thing(canary, "fix_id", fix_id))
    return lambda: call(admin, "GET", f"{API}/knowledge/fixes/{fix_id}")["state"] == "active"


def _private(stage: Stage, admin: Asker) -> None:
    """A question is its asker's alone, and so are its conversation and its answer."""
    asked = Canary(tenant=admin.tenant, level=Level.INTERNAL, owner=admin.name, place="question", topic="wine cellar")
    stage.canaries.append(asked)
    body = {"question": f"Is {asked.word} the pass phrase of the wine cellar?"}
    answer = call(admin, "POST", f"{API}/chat", json=body, headers=_JSON)
    for parameter, name in (
        ("conversation_id", "conversation_id"),
        ("request_id", "answer_id"),
        ("answer_id", "answer_id"),
    ):
        stage.things.append(_thing(asked, parameter, answer[name]))


def _thing(canary: Canary, parameter: str, thing_id: str) -> Thing:
    return Thing(parameter=parameter, id=thing_id, tenant=canary.tenant, level=canary.level, owner=canary.owner)


def _found(stage: Stage, admin: Asker, asker: Asker, level: Level) -> bool:
    """Whether the asker is given what was planted at the level."""
    for place in ("document", "fix"):
        canary = stage.of(admin.tenant, place, level)
        reply = ask(asker, "POST", f"{API}/chat", json={"question": canary.question}, headers=_JSON)
        if not reply.seen([canary]):
            return False
    return True


def _until(stage: Stage, condition: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + stage.wait_seconds
    while not condition():
        if time.monotonic() > end:
            raise PermanentError(f"not found by who may see it within {stage.wait_seconds:.0f} s: {what}")
        time.sleep(_PAUSE_SECONDS)
