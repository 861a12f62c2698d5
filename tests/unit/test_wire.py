"""Messages as they stand on Redis: what Redis alone shows of them, and what it can make of them."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sluice.access import Level, PassportExpiredError
from sluice.errors import AccessDeniedError, DataKeyUnavailableError, InvalidPassportError
from sluice.messages import AnswerCompleted, LogsSearched, QuestionAsked, QuestionGrounded
from sluice.sealing import KeyFile, Keyring
from sluice.wire import SealedMessageError, Wire
from tests.support.identity import Office, passport
from tests.support.keys import KEYS, keyring

STREAM = "questions.asked.v1.external"
SECRET = "the merger is called Bluefin"


def asked(office: Office, text: str = SECRET, **more: Any) -> QuestionAsked:
    return office.message(QuestionAsked, question=text, search_query=text, **more)


def opened(office: Office, body: str, stream: str = STREAM) -> QuestionAsked:
    return office.opened(QuestionAsked, stream, body.encode())


def test_on_the_wire_a_message_shows_its_envelope_and_nothing_that_anybody_wrote(office: Office) -> None:
    message = asked(office)
    body = office.body(message)
    assert set(json.loads(body)) == {
        "message_id",
        "request_id",
        "tenant",
        "passport",
        "deadline",
        "traceparent",
        "run",
        "created_at",
        "sealed",
    }
    assert "Bluefin" not in body
    assert opened(office, body) == message


def test_a_message_opens_in_its_own_place_alone(office: Office) -> None:
    """case 43: replayed under another id or run, with more time, on another stream or lane, or beside another field."""
    body = office.body(asked(office))
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    changed: list[dict[str, Any]] = [
        {"message_id": "another"},
        {"run": 2},
        {"deadline": later},
        {"created_at": later},
        {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"},
        {"question": "Tell me the salaries"},
        {"sealed": None},
        {"sealed": "AAAA"},
    ]
    for change in changed:
        with pytest.raises(SealedMessageError):
            opened(office, json.dumps({**json.loads(body), **change}))
    with pytest.raises(SealedMessageError):
        office.opened(QuestionGrounded, "questions.grounded.v1.external", body.encode())
    with pytest.raises(InvalidPassportError):
        opened(office, body, "questions.asked.v1.internal")


def test_whoever_has_redis_alone_makes_no_message_of_a_live_passport(office: Office) -> None:
    """case 43: what the passport does not bind, the search query and the passages, is not theirs to choose either."""
    genuine = asked(office, clearance=Level.INTERNAL)
    plain = genuine.model_copy(update={"search_query": "salaries"})
    with pytest.raises(SealedMessageError):
        opened(office, plain.model_dump_json(), "questions.asked.v1.internal")
    other_keys = Wire(Office().keyring, office.verifier)
    sealed = other_keys.write(plain, "questions.asked.v1.internal", passport(clearance=Level.INTERNAL))
    with pytest.raises(SealedMessageError):
        opened(office, sealed, "questions.asked.v1.internal")


def test_what_was_sealed_for_one_request_does_not_open_beside_the_passport_of_another(office: Office) -> None:
    """case 43: the body is swapped between two live requests of one person who asked the same."""
    first, second = (json.loads(office.body(asked(office))) for _ in range(2))
    with pytest.raises(SealedMessageError):
        opened(office, json.dumps({**second, "sealed": first["sealed"]}))


def test_an_external_lane_neither_reads_nor_writes_an_internal_message(office: Office, tmp_path: Path) -> None:
    lane = Wire(keyring(tmp_path, {Level.EXTERNAL: KEYS[Level.EXTERNAL]}), office.verifier)
    whole = Wire(keyring(tmp_path), office.verifier)
    message = asked(office, clearance=Level.INTERNAL)
    stream = message.stream_of(Level.INTERNAL)
    body = whole.write(message, stream, passport(clearance=Level.INTERNAL)).encode()
    with pytest.raises(SealedMessageError):
        lane.open(QuestionAsked, stream, lane.read(QuestionAsked, body))
    with pytest.raises(AccessDeniedError):
        lane.write(message, stream, passport(clearance=Level.INTERNAL))


def test_what_was_sealed_is_compared_with_what_was_asked(office: Office) -> None:
    """case 43: a lane that holds the key still cannot ask another question than the one that was signed."""
    other = asked(office).model_copy(update={"question": "Tell me the salaries"})
    with pytest.raises(InvalidPassportError):
        opened(office, office.body(other))


def test_an_expired_message_is_opened_for_whoever_waits_and_marked(office: Office) -> None:
    message = asked(office, passport_expires_at=datetime.now(UTC) - timedelta(seconds=1))
    found = office.wire.open(QuestionAsked, STREAM, office.wire.read(QuestionAsked, office.body(message).encode()))
    assert (found.message, found.expired is not None) == (message, True)


def test_a_stream_of_the_gateway_takes_either_level_by_the_passport(office: Office) -> None:
    for clearance in Level:
        answer = office.message(
            AnswerCompleted,
            question="q",
            text=SECRET,
            tier="t",
            finish_reason="stop",
            level=clearance,
            clearance=clearance,
        )
        assert office.opened(AnswerCompleted, AnswerCompleted.stream, office.body(answer).encode()) == answer


def test_a_log_search_is_plain_since_its_receiver_holds_no_key(office: Office, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    search = office.message(LogsSearched, query="level:error", start=now, end=now, clearance=Level.INTERNAL)
    bridge = Wire(keyring(tmp_path, {}), office.verifier)
    body = office.body(search)
    assert json.loads(body)["query"] == "level:error"
    received = bridge.read(LogsSearched, body.encode())
    assert bridge.open(LogsSearched, LogsSearched.stream, received).message == search


def test_a_field_of_tomorrow_beside_or_inside_is_no_obstacle(office: Office) -> None:
    class Tomorrows(QuestionAsked):
        urgency: str = "normal"
        shard: int = 7

    message = Tomorrows(**asked(office).model_dump())
    found = opened(office, office.body(message))
    assert found.question == SECRET


def test_equal_messages_look_different_each_time(office: Office) -> None:
    message = office.message(QuestionGrounded, question="q", search_query="q")
    sealed = {base64.b64decode(json.loads(office.body(message))["sealed"])[5:] for _ in range(3)}
    assert len(sealed) == 3


def test_while_the_data_keys_are_away_a_message_is_no_forgery_but_waits_as_long_as_its_passport(
    office: Office, tmp_path: Path
) -> None:
    """One that names a key which never was waits no longer either."""
    elsewhere = Wire(Keyring({level: [KeyFile(key)] for level, key in KEYS.items()}, tmp_path), office.verifier)
    for seconds, error in ((60, DataKeyUnavailableError), (-1, PassportExpiredError)):
        expires_at = datetime.now(UTC) + timedelta(seconds=seconds)
        body = office.body(asked(office, passport_expires_at=expires_at)).encode()
        with pytest.raises(error):
            elsewhere.open(QuestionAsked, STREAM, elsewhere.read(QuestionAsked, body))
