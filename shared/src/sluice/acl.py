"""The users of Redis and what each may do there, made from the table of streams: a user a service and lane.

Who sends may put on a stream and not read it; who receives may read it, settle what it read, and bury it without
reading the dead letters; the gateway looks at all streams, for operators and for what was lost. A script is called by
its SHA with all of its keys, and Redis holds each command in it to these rules too.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sluice.access import Level
from sluice.messages import DocumentOffered
from sluice.topology import FLOWS, PRODUCER, Flow
from sluice.workstream import Keys

GATEWAY = "gateway"
PRODUCER_USER = "producer"
OPERATOR_USER = "operator"
"""May do everything. No process has its password."""
_REPLYING = (GATEWAY, "retriever", "llm-router", "log-bridge")
_ANYBODY = "+ping +select +auth +hello"
_SET_INFO = "+client|setinfo"
_CALLING = "+script|load +script|exists +time"
_ALL = [stream for flow in FLOWS for stream in flow.streams]


@dataclass(frozen=True)
class Process:
    """A service, in one lane where it runs once a lane."""

    service: str
    lane: Level | None = None

    @property
    def user(self) -> str:
        return f"{self.service}-{self.lane.lower()}" if self.lane else self.service

    @property
    def receives(self) -> list[str]:
        return self._streams(flow for flow in FLOWS if flow.receiver == self.service)

    @property
    def sends(self) -> list[str]:
        return self._streams(flow for flow in FLOWS if self.service in flow.senders)

    @property
    def replies(self) -> str | None:
        """The pattern of the reply logs that it writes, and of their channels."""
        if self.service not in _REPLYING:
            return None
        lane = "" if self.service == GATEWAY else (self.lane or Level.INTERNAL).lower() + ":"
        return f"reply:{{{lane}*"

    def _streams(self, flows: Iterable[Flow]) -> list[str]:
        return list(dict.fromkeys(stream for flow in flows for stream in flow.streams_of(self.lane)))


def processes() -> list[Process]:
    """Who takes part, each as often as it runs."""
    laned = {flow.receiver for flow in FLOWS if flow.laned}
    services = dict.fromkeys(name for flow in FLOWS for name in (*flow.senders, flow.receiver) if name != PRODUCER)
    return [Process(name, lane) for name in services for lane in (Level if name in laned else (None,))]


def users() -> list[str]:
    return [*(process.user for process in processes()), PRODUCER_USER, OPERATOR_USER]


def acl(digests: Mapping[str, str], *, set_info: bool = True) -> str:
    """The text of an ACL file, with the SHA-256 of each user's password in hexadecimal.

    Redis before 7.2 does not know the command by which a client names its library: without `set_info`.
    """
    anybody = f"{_ANYBODY} {_SET_INFO}" if set_info else _ANYBODY
    rules = {process.user: f"{anybody} {_CALLING} {' '.join(filter(None, _rules(process)))}" for process in processes()}
    rules[PRODUCER_USER] = f"{anybody} +xadd %W~{DocumentOffered.stream}"
    rules[OPERATOR_USER] = "+@all ~* &*"
    lines = [f"user {user} on #{digests[user]} resetkeys resetchannels -@all {rule}" for user, rule in rules.items()]
    return "\n".join(["user default off resetpass resetkeys resetchannels -@all", *lines, ""])


def _rules(process: Process) -> Iterator[str]:
    yield from _receiving(process.receives)
    yield from _sending(process.sends)
    touched = {key for stream in (*process.receives, *process.sends) for key in _keys_of(stream)}
    if process.service == GATEWAY:
        yield from _looking(_ALL)
        touched |= {key for stream in _ALL for key in _keys_of(stream)}
    if process.replies:
        touched.add(process.replies)
        yield f"(+exists +xrange +xrevrange +xadd +expire +publish ~{process.replies} &{process.replies})"
    yield _on("+evalsha", "~", sorted(touched))


def _receiving(streams: list[str]) -> Iterator[str]:
    keys = [Keys(stream) for stream in streams]
    reading = "+xreadgroup +xgroup|create +xgroup|delconsumer +xinfo|stream +xinfo|groups +xinfo|consumers +xpending"
    yield _on(f"{reading} +xclaim +xack +xdel +xrange +xadd +del", "~", streams)
    yield _on("+hget +hset +hdel", "~", [of.places for of in keys])
    yield _on("+zadd +zrangebyscore +zrem", "~", [of.delayed for of in keys])
    yield _on("+xadd", "%W~", [of.dead for of in keys])
    yield _on("+set +exists", "%W~", [of.done("*") for of in keys])
    yield _on("+zadd +zrem +zremrangebyscore", "%W~", [of.consumers for of in keys])


def _sending(streams: list[str]) -> Iterator[str]:
    keys = [Keys(stream) for stream in streams]
    yield _on("+xadd +xlen", "%W~", streams)
    yield _on("+xlen", "%W~", [of.dead for of in keys])
    yield _on("+zcount", "%R~", [of.delayed for of in keys])
    yield _on("+hget +hset", "~", [of.places for of in keys])
    yield _on("+exists", "%R~", [of.done("*") for of in keys])


def _looking(streams: list[str]) -> Iterator[str]:
    """What only the gateway does: places, depths, dead letters, the events of every request, what operators asked."""
    keys = [Keys(stream) for stream in streams]
    yield "+info +pubsub|numsub +unsubscribe (+subscribe &reply:{*) (+set ~reply:{*) (+setrange ~sluice:probe)"
    yield "(+get +set ~index-task:*) (+incrby +expire ~limit:*)"
    yield _on("+xrange +xlen +xpending +xinfo|groups", "%R~", streams)
    yield _on("+xadd", "%W~", streams)
    yield _on("+zcard +zcount +zrangebyscore", "%R~", [of.delayed for of in keys])
    yield _on("+xlen +xrange +xrevrange +xdel", "~", [of.dead for of in keys])
    yield _on("+hget +hset +hdel", "~", [of.places for of in keys])
    yield _on("+zcount", "%R~", [of.consumers for of in keys])


def _keys_of(stream: str) -> tuple[str, str]:
    return stream, f"{{{stream}}}:*"


def _on(commands: str, access: str, keys: Iterable[str]) -> str:
    """Commands that may be used on these keys alone; without any key, nothing."""
    patterns = " ".join(access + key for key in keys)
    return f"({commands} {patterns})" if patterns else ""
