"""The table of all ways in. What is not in it fails the contract check: a route of the API, or a stream."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sluice.cli.selftest import calls, messages, page
from sluice.cli.selftest.calls import Attempt, Call, body, make
from sluice.cli.selftest.record import CannotTryError, Record
from sluice.cli.selftest.stage import Stage

_CHAT = "/api/v1/chat"
_KNOWLEDGE = "/api/v1/knowledge"
_LETTER = {"stream": "questions.asked.v1.internal", "letter_id": "1-1"}
_INTERNAL_REBUILD = {"tenant": "default", "access_level": "INTERNAL"}


@dataclass(frozen=True)
class Way:
    """A way in: its routes and streams, and how it is tried."""

    name: str
    attempt: Attempt
    routes: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()

    def tried(self, stage: Stage) -> Record:
        record = Record(self.name, stage.canaries)
        try:
            self.attempt(stage, record)
        except CannotTryError as error:
            record.untried.append(error.detail)
        if not record.asked and not record.untried:
            record.untried.append("nobody could ask anything here")
        return record


def _of(name: str, *tried: Call) -> Way:
    return Way(name, make(*tried), tuple(call.route for call in tried))


WAYS: tuple[Way, ...] = (
    Way("chat", calls.chat, (f"POST {_CHAT}",)),
    Way("chat with a tenant, level or filter of one's own", calls.smuggled_chat, (f"POST {_CHAT}",)),
    Way("follow-up questions", calls.follow_up, (f"POST {_CHAT}",)),
    Way("events resumed", calls.resumed, (f"GET {_CHAT}/requests/{{request_id}}/events",)),
    _of("another's request cancelled", Call("DELETE", f"{_CHAT}/requests/{{request_id}}")),
    _of(
        "conversations",
        Call("GET", f"{_CHAT}/conversations"),
        Call("GET", f"{_CHAT}/conversations/{{conversation_id}}"),
        Call("PATCH", f"{_CHAT}/conversations/{{conversation_id}}", body(title="mine now")),
        Call("DELETE", f"{_CHAT}/conversations/{{conversation_id}}"),
    ),
    _of("answers", Call("POST", f"{_CHAT}/answers/{{answer_id}}/feedback", body(verdict="up"))),
    _of(
        "documents",
        Call("GET", f"{_KNOWLEDGE}/documents"),
        Call("GET", f"{_KNOWLEDGE}/documents", {"params": {"name": "."}}),
        Call("GET", f"{_KNOWLEDGE}/documents/{{document_id}}"),
        Call("PATCH", f"{_KNOWLEDGE}/documents/{{document_id}}", body(access_level="EXTERNAL")),
        Call("DELETE", f"{_KNOWLEDGE}/documents/{{document_id}}"),
    ),
    _of(
        "jobs",
        Call("GET", f"{_KNOWLEDGE}/jobs/{{job_id}}"),
        Call("GET", f"{_KNOWLEDGE}/jobs/{{job_id}}/events"),
    ),
    Way("uploads above one's clearance", calls.uploads, (f"POST {_KNOWLEDGE}/documents",)),
    _of(
        "offers' fates",
        Call("GET", f"{_KNOWLEDGE}/offers"),
        Call("GET", f"{_KNOWLEDGE}/offers/{{idempotency_key}}", fill={"idempotency_key": "selftest"}),
    ),
    _of(
        "fixes",
        Call("GET", f"{_KNOWLEDGE}/fixes"),
        Call("GET", f"{_KNOWLEDGE}/fixes/{{fix_id}}"),
        Call("DELETE", f"{_KNOWLEDGE}/fixes/{{fix_id}}"),
    ),
    Way("fixes taught above one's clearance", calls.taught, (f"POST {_KNOWLEDGE}/fixes",)),
    Way("log search", calls.log_search, ("POST /api/v1/logs/search",)),
    Way("keys made above one's clearance", calls.made_keys, ("POST /api/v1/keys",)),
    _of(
        "API keys",
        Call("GET", "/api/v1/keys"),
        Call("DELETE", "/api/v1/keys/{key_id}", fill={"key_id": "key-1"}),
        Call("POST", "/api/v1/keys/{key_id}/rotate", body(), fill={"key_id": "key-1"}),
    ),
    _of(
        "people",
        Call("GET", "/api/v1/people"),
        Call("GET", "/api/v1/people/{person_id}"),
        Call("PATCH", "/api/v1/people/{person_id}", body(suspended=True)),
        Call("DELETE", "/api/v1/people/{person_id}"),
        Call("DELETE", "/api/v1/people/{person_id}/sessions"),
        Call("POST", "/api/v1/people", body(email="not an address", rights=[])),
        Call("POST", "/api/v1/people/{person_id}/links", body()),
        Call("POST", "/api/v1/invitations", body(email="not an address", rights=[])),
        Call("GET", "/api/v1/tenant"),
        Call("PATCH", "/api/v1/tenant", body(sign_up="never")),
    ),
    _of(
        "signing in",
        Call("GET", "/api/v1/me"),
        Call("POST", "/api/v1/auth/logout", {"headers": {"Authorization": "Bearer stolen"}}),
        Call("POST", "/api/v1/auth/logout-everywhere", {"headers": {"Authorization": "Bearer stolen"}}),
        Call("GET", "/api/v1/auth/ways"),
        Call("POST", "/api/v1/auth/forgotten", body(email="nobody@example.com")),
        Call("POST", "/api/v1/auth/sign-up", body(email="nobody@example.com", tenant="nobody")),
    ),
    Way("signing in with a guessed link, or an issuer's answer", calls.guessed_ways_in, calls.GUESSED_WAYS_IN),
    Way("signing in with a guess", calls.guessed_password, ("POST /api/v1/auth/login",)),
    _of(
        "operators' tenants",
        Call("GET", "/api/v1/tenants"),
        Call("POST", "/api/v1/tenants", body(slug="mine", name="mine"), only_for="operator"),
        Call(
            "PATCH",
            "/api/v1/tenants/{slug}",
            body(suspended=False),
            fill={"slug": "default"},
            only_for="operator",
        ),
        Call(
            "POST",
            "/api/v1/tenants/{slug}/people",
            body(email="a@example.com", rights=["admin"]),
            fill={"slug": "default"},
            only_for="operator",
        ),
    ),
    _of(
        "dead letters",
        Call("GET", "/api/v1/dead-letters"),
        Call("GET", "/api/v1/dead-letters/{stream}/{letter_id}", fill=_LETTER),
        Call("DELETE", "/api/v1/dead-letters", {"params": {"all": "true"}}, only_for="operator"),
        Call("POST", "/api/v1/dead-letters/replay", body(), only_for="operator"),
        Call("DELETE", "/api/v1/dead-letters/{stream}/{letter_id}", fill=_LETTER, only_for="operator"),
        Call("POST", "/api/v1/dead-letters/{stream}/{letter_id}/replay", fill=_LETTER, only_for="operator"),
    ),
    _of(
        "indexes",
        Call("POST", "/api/v1/indexes/rebuild", body(**_INTERNAL_REBUILD), only_for="operator"),
        Call("POST", "/api/v1/indexes/verify", body(**_INTERNAL_REBUILD), only_for="operator"),
        Call("GET", "/api/v1/indexes/tasks/{task_id}", fill={"task_id": "1"}),
    ),
    _of("the self-test at a button", Call("POST", "/api/v1/selftest/leaks", only_for="operator")),
    _of(
        "the audit log",
        Call("GET", "/api/v1/audit"),
        Call("GET", "/api/v1/audit/explain", {"params": {"person": "1", "document": "1"}}),
        Call("GET", "/api/v1/audit/chains"),
        Call("GET", "/api/v1/audit/chains/{chain}/records", fill={"chain": "system"}),
    ),
    _of(
        "health and documentation",
        *(Call("GET", path) for path in ("/healthz", "/readyz", "/metrics", "/asyncapi", "/docs", "/openapi.json")),
    ),
    Way("the page", page.attempt),
    Way("messages with forged and stolen passports", messages.forge, streams=messages.STREAMS),
    Way("what stands in Redis", messages.read_all, streams=messages.STREAMS),
)


def uncovered(routes: Iterable[str], streams: Iterable[str], ways: Sequence[Way] = WAYS) -> list[str]:
    """The routes and streams that stand in no way's list."""
    known = {name for way in ways for name in (*way.routes, *way.streams)}
    return sorted({*routes, *streams} - known)
