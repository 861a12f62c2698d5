"""An offer's proof and form, without any server."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from gateway.offers import idempotency_key_of
from sluice.access import Level
from sluice.messages import DocumentOffered, Grant
from sluice.offers import Offer, key_digest, key_id_of, new_api_key, proves, sign

BODY = '{"name": "a.txt", "access_level": "EXTERNAL", "text": "x"}'


def test_a_grant_is_the_hmac_that_the_documentation_says() -> None:
    """Computed once with openssl, so that no change of ours goes unnoticed by producers in other languages."""
    key = f"sluice_key-{'0123456789ab' * 2}_{'f' * 64}"
    offered = sign(key, BODY, nonce="nonce-0001", at=datetime(2026, 1, 2, tzinfo=UTC))
    assert offered.grant.key_id == "key-0123456789ab0123456789ab"
    assert offered.grant.time == "2026-01-02T00:00:00+00:00"
    assert offered.grant.hmac == "7f536d589067f64463db1aebfae40d6541c4ddea7e688f1dbd42653384d82829"


def test_a_proof_holds_for_its_very_bytes_and_key_alone() -> None:
    (key_id, key), (_, other) = new_api_key(), new_api_key()
    offered = sign(key, BODY)
    assert key_id_of(key) == key_id
    assert proves(key_digest(key), offered)
    assert not proves(key_digest(other), offered)
    assert not proves(key_digest(key), offered.model_copy(update={"body": f"{BODY} "}))
    for name, value in (("time", "2026-01-01T00:00:00Z"), ("nonce", "another-nonce"), ("key_id", "key-1")):
        changed = offered.grant.model_copy(update={name: value})
        assert not proves(key_digest(key), offered.model_copy(update={"grant": changed})), name


def test_no_part_of_a_grant_can_be_moved_into_the_next() -> None:
    """The parts are joined by points: a nonce has none, so that the same bytes are never read as another offer."""
    values = {"key_id": "key-1", "time": "2026-01-01T00:00:00Z", "hmac": "0" * 64}
    for nonce in ("abcdefgh.ijkl", "short", "has a space", "ü" * 8, "x" * 129):
        with pytest.raises(ValidationError):
            Grant(**values, nonce=nonce)
    with pytest.raises(ValidationError):
        Grant(**{**values, "key_id": "key.1"}, nonce="long-enough")


@pytest.mark.parametrize("text", ["", "sluice_", "sluice_key-1_x", f"sluice_key-{'g' * 24}_{'0' * 64}", "key-1"])
def test_what_has_not_the_form_of_a_key_is_none(text: str) -> None:
    assert key_id_of(text) is None
    with pytest.raises(ValueError, match="not an API key"):
        sign(text, BODY)


def test_keys_are_never_the_same_and_their_secret_has_256_bits() -> None:
    keys = {new_api_key()[1] for _ in range(100)}
    assert len(keys) == 100
    assert {len(bytes.fromhex(key.split("_")[2])) for key in keys} == {32}


def test_an_offer_is_written_without_what_it_has_not() -> None:
    assert Offer(name="a", access_level=Level.EXTERNAL, text="x").to_body() == (
        '{"name":"a","access_level":"EXTERNAL","text":"x"}'
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"idempotency_key": "mine"}', "mine"),
        ('{"idempotency_key": "mine", "unknown": 1}', "mine"),
        ('{"idempotency_key": "with space"}', "the-nonce"),
        ('{"idempotency_key": 1}', "the-nonce"),
        (BODY, "the-nonce"),
        ("[1]", "the-nonce"),
        ("{", "the-nonce"),
        ("[" * 100_000, "the-nonce"),
    ],
)
def test_a_refusal_is_noted_where_its_producer_looks(body: str, expected: str) -> None:
    grant = Grant(key_id="key-1", time="2026-01-02T03:04:05Z", nonce="the-nonce", hmac="0" * 64)
    assert idempotency_key_of(DocumentOffered(body=body, grant=grant)) == expected
