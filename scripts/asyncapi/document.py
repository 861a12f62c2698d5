"""The document itself: AsyncAPI 3.0.0, with a channel for every stream, delayed set, dead-letter stream and reply."""

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from gateway.routes.offers import FateOut
from scripts.asyncapi import entries, texts
from scripts.asyncapi.events import EVENTS
from sluice.access import Level
from sluice.messages import (
    Envelope,
    IndexDamaged,
    LogsSearched,
    Message,
    PassportRefused,
    QuestionAsked,
    QuestionFollowedUp,
)
from sluice.offers import Offer
from sluice.settings import CommonSettings, RetryRule
from sluice.topology import FLOWS, Flow

EXAMPLES = Path("tests/contract/messages")
_SCHEMAS = "#/components/schemas/"
_LANE = {
    "description": "By the clearance of whoever asks.",
    "enum": [level.lower() for level in Level],
}
_REPLY = "replies"
_HINTS = (IndexDamaged, PassportRefused)
_ANSWERED = (QuestionAsked, QuestionFollowedUp, LogsSearched)
Json = dict[str, Any]


def document() -> Json:
    return {
        "asyncapi": "3.0.0",
        "id": "urn:sluice:messages",
        "info": {
            "title": "Sluice's messages",
            "version": "1.0.0",
            "description": _guarantees(),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": {name: channel for flow in FLOWS for name, channel in _channels(flow).items()} | _replies(),
        "operations": {name: operation for flow in FLOWS for name, operation in _operations(flow).items()}
        | _reply_operations(),
        "components": {
            "messages": _messages(),
            "schemas": _schemas(),
            "correlationIds": {
                "request": {
                    "description": "The request or job that the message belongs to.",
                    "location": "$message.payload#/request_id",
                }
            },
            "parameters": {"lane": _LANE},
            "securitySchemes": _security(),
        },
    }


def _guarantees() -> str:
    rule, crashes = RetryRule(), CommonSettings.model_fields["max_crashes"].default
    return texts.GUARANTEES.format(
        first=rule.first_seconds,
        longest=rule.longest_seconds,
        attempts=rule.attempts,
        crashes=crashes,
        STREAM="{STREAM}",
    )


def _servers() -> Json:
    return {
        "redis": {
            "host": "127.0.0.1:8100",
            "protocol": "redis",
            "description": "Redis 7 or Valkey; append-only with fsync always.",
            "security": [_ref("securitySchemes", "redis")],
            "bindings": {"redis": {}},
        },
        "gateway": {"host": "127.0.0.1:8000", "protocol": "http", "description": "The gateway's HTTP API."},
    }


def _security() -> Json:
    return {
        "redis": {"type": "userPassword", "description": texts.REDIS},
        "passport": {"type": "asymmetricEncryption", "description": texts.PASSPORT},
        "grant": {"type": "symmetricEncryption", "description": texts.GRANT},
        "key": {"type": "http", "scheme": "bearer", "description": "The API key that the document was offered with."},
    }


def _channels(flow: Flow) -> dict[str, Json]:
    stream, name = flow.kind.stream, flow.kind.__name__
    beside = {"stream": {"description": "The stream, in literal braces.", "enum": [f"{{{s}}}" for s in flow.streams]}}
    work = _channel(flow.address, flow.carries, texts.WORK, [name], {"type": "stream", "group": flow.receiver})
    if flow.laned:
        work["parameters"] = {"lane": _ref("parameters", "lane")}
    delayed = _channel("{stream}:delayed", f"retries of {stream}", texts.DELAYED, ["Delayed"], {"type": "zset"})
    dead = _channel("{stream}:dead", f"dead letters of {stream}", texts.DEAD, ["DeadLetter"], {"type": "stream"})
    return {
        stream: work,
        f"{stream}.delayed": delayed | {"parameters": beside},
        f"{stream}.dead": dead | {"parameters": beside},
    }


def _replies() -> dict[str, Json]:
    request = {
        "request": {
            "description": "Lane and request id, in literal braces.",
            "examples": ["{external:c0ffee01}"],
        }
    }
    names = [f"Reply{name.title()}" for name in EVENTS]
    log = _channel("reply:{request}", "reply log of a request", texts.REPLIES, names, {"type": "stream"})
    wakeups = _channel("reply:{request}", "wake-ups", texts.WAKEUPS, ["Wakeup"], {"type": "pub/sub"})
    cancelled = _channel("reply:{request}:cancelled", "cancelled", texts.CANCELLED, ["Cancelled"], {"type": "string"})
    fates = _channel("/api/v1/knowledge/offers/{key}", "the fate of an offer", texts.FATES, ["OfferFate"], None)
    return {
        _REPLY: log | {"parameters": request},
        f"{_REPLY}.wakeups": wakeups | {"parameters": request},
        f"{_REPLY}.cancelled": cancelled | {"parameters": request},
        "offers.fates": fates | {"parameters": {"key": {"description": "The offer's idempotency key."}}},
    }


def _channel(address: str, title: str, description: str, messages: list[str], redis: Json | None) -> Json:
    server = "redis" if redis else "gateway"
    channel: Json = {
        "address": address,
        "title": title,
        "description": description,
        "servers": [{"$ref": f"#/servers/{server}"}],
        "messages": {name: _ref("messages", name) for name in messages},
    }
    return channel | ({"bindings": {"redis": {}}, "x-redis": redis} if redis else {})


def _operations(flow: Flow) -> dict[str, Json]:
    stream, name = flow.kind.stream, flow.kind.__name__
    proof = [_ref("securitySchemes", "passport" if issubclass(flow.kind, Message) else "grant")]
    secured: Json = {} if flow.kind in _HINTS else {"security": proof}
    answered = {"reply": {"channel": {"$ref": f"#/channels/{_REPLY}"}}}
    made = {
        f"{_slug(sender)}.send.{stream}": _operation("send", sender, stream, [name], secured)
        | (answered if sender == "gateway" and flow.kind in _ANSWERED else {})
        for sender in flow.senders
    }
    group = secured | {"x-consumer-group": flow.receiver}
    taken = {f"{flow.receiver}.receive.{stream}": _operation("receive", flow.receiver, stream, [name], group)}
    for kind, message in (("delayed", "Delayed"), ("dead", "DeadLetter")):
        channel = f"{stream}.{kind}"
        taken[f"{flow.receiver}.send.{channel}"] = _operation("send", flow.receiver, channel, [message], {})
    back = _operation("receive", flow.receiver, f"{stream}.delayed", ["Delayed"], {})
    looked = _operation("receive", "gateway", f"{stream}.dead", ["DeadLetter"], {"summary": "for operators"})
    return made | taken | {f"{flow.receiver}.receive.{stream}.delayed": back, f"gateway.receive.{stream}.dead": looked}


def _reply_operations() -> dict[str, Json]:
    writers = sorted({service for _, services in EVENTS.values() for service in services})
    operations: dict[str, Json] = {}
    for service in writers:
        names = [f"Reply{name.title()}" for name, (_, services) in EVENTS.items() if service in services]
        operations[f"{service}.send.replies"] = _operation("send", service, _REPLY, names, {})
        operations[f"{service}.send.wakeups"] = _operation("send", service, f"{_REPLY}.wakeups", ["Wakeup"], {})
    every = [f"Reply{name.title()}" for name in EVENTS]
    operations["gateway.receive.replies"] = _operation("receive", "gateway", _REPLY, every, {})
    operations["gateway.receive.wakeups"] = _operation("receive", "gateway", f"{_REPLY}.wakeups", ["Wakeup"], {})
    cancelled = f"{_REPLY}.cancelled"
    operations["gateway.send.cancelled"] = _operation("send", "gateway", cancelled, ["Cancelled"], {})
    for service in ("retriever", "llm-router"):
        operations[f"{service}.receive.cancelled"] = _operation("receive", service, cancelled, ["Cancelled"], {})
    told = {"security": [_ref("securitySchemes", "key")]}
    operations["gateway.send.offers.fates"] = _operation("send", "gateway", "offers.fates", ["OfferFate"], told)
    return operations


def _operation(action: str, service: str, channel: str, messages: list[str], more: Json) -> Json:
    at = f"#/channels/{channel}"
    return {
        "action": action,
        "channel": {"$ref": at},
        "messages": [{"$ref": f"{at}/messages/{name}"} for name in messages],
        "tags": [{"name": service}],
        **more,
    }


def _messages() -> dict[str, Json]:
    made = {flow.kind.__name__: _message(flow) for flow in FLOWS}
    for name, (model, _) in EVENTS.items():
        made[f"Reply{name.title()}"] = {
            "name": name,
            "title": f"event {name}",
            "contentType": "application/json",
            "headers": {"type": "object", "required": ["event"], "properties": {"event": {"const": name}}},
            "payload": {"$ref": f"{_SCHEMAS}{model.__name__}"},
        }
    told = {"type": "string", "description": "Three lines an entry (id, event, data), or nothing."}
    made["Wakeup"] = {"name": "wakeup", "summary": "The log grew.", "payload": told}
    made["Cancelled"] = {"name": "cancelled", "summary": "The asker is gone.", "payload": {"const": "1"}}
    made["Delayed"] = {"name": "delayed", "payload": {"$ref": f"{_SCHEMAS}DelayedMember"}}
    made["DeadLetter"] = {
        "name": "dead letter",
        "headers": {"$ref": f"{_SCHEMAS}DeadLetterFields"},
        "payload": {"type": "string", "description": "`__data__`: the bytes as they came."},
    }
    made["OfferFate"] = {"name": "fate of an offer", "payload": {"$ref": f"{_SCHEMAS}FateOut"}}
    return made


def _message(flow: Flow) -> Json:
    signed = {"correlationId": _ref("correlationIds", "request")} if issubclass(flow.kind, Message) else {}
    example = json.loads((EXAMPLES / f"{flow.kind.stream}.json").read_text())["example"]
    content = f"{_SCHEMAS}{flow.kind.__name__}"
    sealed = issubclass(flow.kind, Message) and flow.kind.quotes
    if sealed:
        example = {**{name: example[name] for name in Envelope.model_fields if name in example}, "sealed": "AQAAAAE="}
        signed["x-sealed-content"] = {"$ref": content}
    return {
        "name": flow.kind.stream,
        "title": flow.carries,
        "summary": " ".join((flow.kind.__doc__ or "").split()),
        "contentType": "application/json",
        "headers": {"$ref": f"{_SCHEMAS}EntryFields"},
        "payload": {"$ref": f"{_SCHEMAS}SealedMessage" if sealed else content},
        "examples": [{"name": "example", "payload": example}],
        **signed,
    }


def _schemas() -> Json:
    models = [Envelope, *(flow.kind for flow in FLOWS), *(model for model, _ in EVENTS.values()), Offer, FateOut]
    _, made = models_json_schema([(model, "validation") for model in models], ref_template=f"{_SCHEMAS}{{model}}")
    schemas = made["$defs"]
    schemas["SealedMessage"] = _sealed(schemas.pop("Envelope"))
    schemas["DocumentOffered"]["properties"]["body"] |= {
        "contentMediaType": "application/json",
        "x-content-schema": {"$ref": f"{_SCHEMAS}Offer"},
    }
    beside = {"EntryFields": entries.WORK, "DeadLetterFields": entries.DEAD, "DelayedMember": entries.DELAYED}
    return dict(sorted((schemas | beside).items()))


def _sealed(envelope: Json) -> Json:
    sealed = {"type": "string", "contentEncoding": "base64", "description": texts.SEALED}
    return {
        **envelope,
        "title": "SealedMessage",
        "properties": {**envelope["properties"], "sealed": sealed},
        "required": [*envelope["required"], "sealed"],
    }


def _slug(service: str) -> str:
    return service.replace(" ", "-")


def _ref(part: str, name: str) -> Json:
    return {"$ref": f"#/components/{part}/{name}"}
