"""What leaves the log-bridge has no secrets and no personal data in it."""

import time
from typing import Any

import pytest

from log_bridge.redaction import redact, redact_text


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("mail bob.smith+x@example.co.uk now", "mail [redacted:email] now"),
        ("Authorization: Bearer abcdef1234567890", "Authorization: Bearer [redacted:token]"),
        ("password=hunter2 user=bob", "password=[redacted] user=bob"),
        ('password="a\\"b c" next', "password=[redacted] next"),
        ('{"api_key": "k 1", "a": 1}', '{"api_key": [redacted], "a": 1}'),
        ("GET /x?token=abc&y=1", "GET /x?token=[redacted]&y=1"),
        ('password: "x y', "password: [redacted]"),
        ("redis://u:p4ss@127.0.0.1:6379/0", "redis://[redacted]@127.0.0.1:6379/0"),
        ("paid with 4111 1111 1111 1111 today", "paid with [redacted:card] today"),
        ("paid with 378282246310005", "paid with [redacted:card]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_", "[redacted:token]"),
        ("key AIza" + "x" * 35, "key [redacted:key]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- x", "[redacted:key] x"),
    ],
)
def test_secrets_and_personal_data_are_taken_out_of_texts(text: str, redacted: str) -> None:
    assert redact_text(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "input_tokens=5 done",
        "4111111111111112 fails the check digit",
        "1795132800000000",
        "a@b",
        "the password was changed",
        "7f3c9a52e1d84b06a1c2d3e4f5061728",
    ],
)
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    assert redact_text(text) == text


def test_a_record_is_redacted_in_its_values_names_and_numbers() -> None:
    record: dict[str, Any] = {
        "password": "x",
        "pin_password": 1234,
        "accessToken": "abc",
        "session_token": None,
        "input_tokens": 5,
        "email": "a@example.com",
        "bob@example.com": 1,
        "card": 4111111111111111,
        "deep": [{"api_key": {"a": ["b", 5]}}],
        "tokens": {"input": 5, "text": ["x"]},
        "event": "document.indexed",
        "ok": True,
    }
    assert redact(record) == {
        "password": "[redacted]",
        "pin_password": "[redacted]",
        "accessToken": "[redacted]",
        "session_token": None,
        "input_tokens": 5,
        "email": "[redacted:email]",
        "[redacted:email]": 1,
        "card": "[redacted:card]",
        "deep": [{"api_key": {"a": ["[redacted]", "[redacted]"]}}],
        "tokens": {"input": 5, "text": ["[redacted]"]},
        "event": "document.indexed",
        "ok": True,
    }


@pytest.mark.parametrize("unit", ["a", "a.", "password ", "1 ", "a@", "://", "bearer ", "=\"'"])
def test_hostile_text_costs_time_in_proportion_to_its_length(unit: str) -> None:
    """A quadratic pattern would need minutes for these."""
    began = time.process_time()
    redact_text(unit * (500_000 // len(unit)))
    assert time.process_time() - began < 5
