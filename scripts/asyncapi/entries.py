"""The fields of entries beside the message itself, as the scripts of `sluice.workstream` write them."""

from typing import Any


def _text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


def _number(description: str) -> dict[str, Any]:
    return _text(description, pattern="^[0-9]+$")


_COUNTERS = {
    "failures": _number("How often its handler failed."),
    "crashes": _number("How often its worker ended over it."),
}
_QUEUED = _number("When it was first put on the stream, in milliseconds since 1970.")
WORK: dict[str, Any] = {
    "type": "object",
    "description": "Fields of the entry beside `__data__`, which holds the payload as JSON. A producer need set none.",
    "properties": {"id": _text("The message's id, under which its place is kept."), **_COUNTERS, "queued": _QUEUED},
}
DEAD: dict[str, Any] = {
    "type": "object",
    "description": "Fields of the entry beside `__data__`, which holds the bytes as they came, valid or not.",
    "properties": {
        "id": _text("The message's id; empty where nobody gave it one."),
        **_COUNTERS,
        "queued": _QUEUED,
        "attempts": _number("How often it was tried."),
        "error": _text("The error's type, as in problem details.", examples=["invalid-passport"]),
        "class": _text("The error's class.", examples=["InvalidPassportError"]),
        "detail": _text("What was wrong, and what to do."),
        "worker": _text("The consumer that gave it up."),
        "time": _text("When.", format="date-time"),
    },
}
DELAYED: dict[str, Any] = {
    "type": "object",
    "description": "A member of the sorted set.",
    "required": ["entry", "id", "body", "failures", "crashes"],
    "properties": {
        "entry": _text("The id of the entry that it was."),
        "id": _text("The message's id."),
        "body": _text("The message as it was sent.", contentMediaType="application/json"),
        "failures": {"type": "integer"},
        "crashes": {"type": "integer"},
        "queued": _QUEUED,
        "reason": _text("Why it failed the last time."),
    },
}
