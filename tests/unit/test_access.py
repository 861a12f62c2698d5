"""Clearance, passports and scopes."""

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.access import Level, PassportExpiredError, Right, clearance_of, key_id, normalise_email
from sluice.errors import (
    AccessDeniedError,
    InvalidPassportError,
    PassportContentError,
    PassportForgedError,
    PassportJobError,
    PassportKeyUnknownError,
    PassportMalformedError,
    PassportMissingError,
    PassportStreamError,
)
from tests.support.identity import Office, passport
from tests.support.waiting import wait_for

STAFF = ("razorpay.com",)
OUTSIDERS = [
    "a@razorpay.com.evil.com",
    "x@evilrazorpay.com",
    "a@sub.razorpay.com",
    "a@razorpay.com.",
    "a@razorpay.com\0",
    "a@razorpay.com\n",
    "a\n@razorpay.com",
    "a@b@razorpay.com",
    "a@evil.com@razorpay.com",
    '"a@evil.com"@razorpay.com',
    '"a b"@razorpay.com',
    "a@rаzorpay.com",  # a Cyrillic a
    "a@ｒazorpay.com",
    "ａ@razorpay.com",
    "a@razorpay。com",
    "a @razorpay.com",
    " a@razorpay.com",
    "a@razorpay.com ",
    "<a@razorpay.com>",
    "A <a@razorpay.com>",
    "a@[razorpay.com]",
    "@razorpay.com",
    "razorpay.com",
    "a@",
    ".a@razorpay.com",
    "a..b@razorpay.com",
    "a@razorpay",
    "a@com",
    "a,b@evil.com,c@razorpay.com",
    "a@razorpay.com,b@evil.com",
    "a@RAZORPAY.COM\u2028",
    "a@xn--rzorpay-hyf.com",
    "",
    f"{'a' * 65}@razorpay.com",
]


@pytest.mark.parametrize("address", OUTSIDERS)
def test_an_address_that_only_looks_internal_is_external(address: str) -> None:
    """case 13: sub-domains, look-alikes, odd and quoted local parts, control characters."""
    assert clearance_of(address, STAFF, verified=True) is Level.EXTERNAL


_LOCAL = st.text(min_size=1, max_size=70)
_LOOK_ALIKES = st.one_of(
    st.builds("{0}@razorpay.com.{1}".format, _LOCAL, st.text(min_size=1)),
    st.builds("{0}@{1}razorpay.com".format, _LOCAL, st.text(min_size=1)),
    st.builds("{0}@razorpay.com{1}".format, _LOCAL, st.text(min_size=1)),
    st.builds("{0}@{1}@razorpay.com".format, _LOCAL, st.text()),
    st.builds('"{0}"@razorpay.com'.format, st.text()),
    st.builds(
        "a@{0}".format,
        st.sampled_from(["ａ", "а", "ɑ", "\u200ba", "á"]).map(lambda other: "razorpay.com".replace("a", other, 1)),
    ),
    st.builds("{0}{1}{2}@razorpay.com".format, st.text(), st.sampled_from("\0\r\n\t ,;<>()\u2028@"), st.text()),
)


@given(_LOOK_ALIKES)
def test_no_constructed_look_alike_is_internal(address: str) -> None:
    """case 13: another domain around the internal one, another letter, a second `@`, what no local part may have."""
    assert clearance_of(address, STAFF, verified=True) is Level.EXTERNAL


@pytest.mark.parametrize("address", ["a@razorpay.com", "A+tag@RazorPay.COM", "o'brien-x_y@razorpay.com"])
def test_an_address_at_exactly_the_internal_domain_is_internal(address: str) -> None:
    assert clearance_of(address, STAFF, verified=True) is Level.INTERNAL
    assert clearance_of(address, ("other.com",), verified=True) is Level.EXTERNAL
    assert clearance_of(address, (), verified=True) is Level.EXTERNAL


@pytest.mark.parametrize("verified", [False, None, "true", 1])
def test_an_unverified_address_is_external(verified: object) -> None:
    """case 14: only exactly true counts."""
    assert clearance_of("a@razorpay.com", STAFF, verified=verified) is Level.EXTERNAL  # pyright: ignore[reportArgumentType]


def test_the_same_person_is_the_same_in_any_case() -> None:
    assert normalise_email("A+tag@RazorPay.COM") == normalise_email("a+TAG@razorpay.com") == "a+tag@razorpay.com"


def test_a_passport_survives_its_journey_and_holds_for_its_request_alone(office: Office) -> None:
    made = passport(job="j", asked="a", streams=("s.v1",), clearance=Level.INTERNAL, tenant="Zoë")
    token = office.signer.sign(made)
    seen = office.verifier.verify(token, stream="s.v1", job="j", asked="a")
    assert (seen.tenant, seen.clearance, seen.rights, seen.subject) == ("Zoë", Level.INTERNAL, made.rights, "person-1")
    others = [({"stream": "t.v1"}, PassportStreamError), ({"job": "k"}, PassportJobError)]
    for other, error in [*others, ({"asked": "b"}, PassportContentError)]:
        with pytest.raises(error):
            office.verifier.verify(token, **{"stream": "s.v1", "job": "j", "asked": "a", **other})


def test_any_changed_character_of_a_passport_is_noticed(office: Office) -> None:
    """Also when the genuine one was verified before."""
    token = office.signer.sign(passport(job="j", asked="a", streams=("s.v1",)))
    office.verifier.verify(token, stream="s.v1", job="j", asked="a")
    for at in range(len(token)):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        if changed.rstrip("ABCDEFGHIJKLMNOP") == token.rstrip("ABCDEFGHIJKLMNOP") and at == len(token) - 1:
            continue  # the last character's low bits carry no data
        with pytest.raises(InvalidPassportError):
            office.verifier.verify(changed, stream="s.v1", job="j", asked="a")


def test_another_keys_passport_is_refused(office: Office) -> None:
    token = Office().signer.sign(passport(job="j", asked="a", streams=("s.v1",)))
    with pytest.raises(PassportKeyUnknownError, match="not signed by this system"):
        office.verifier.verify(token, stream="s.v1", job="j", asked="a")


def test_a_passport_that_names_a_key_which_did_not_sign_it_is_forged(office: Office) -> None:
    token = Office().signer.sign(passport(job="j", asked="a", streams=("s.v1",)))
    named = ".".join([key_id(office.public_key), *token.split(".")[1:]])
    with pytest.raises(PassportForgedError):
        office.verifier.verify(named, stream="s.v1", job="j", asked="a")


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "e30.e30", "=.=", "a.b.c.d", "{kid}.=.=", "{kid}.é.é"])
def test_rubbish_is_no_passport(office: Office, token: str) -> None:
    with pytest.raises((PassportMissingError, PassportMalformedError, PassportKeyUnknownError)):
        office.verifier.verify(token.replace("{kid}", key_id(office.public_key)), stream="s.v1", job="j", asked="a")


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "HS256", "kid": "{kid}"}, {"alg": "EdDSA", "crit": []}])
def test_no_header_decides_how_a_passport_is_verified(office: Office, header: dict[str, Any]) -> None:
    """case 43: a JSON Web Token is no passport; its key confusion and its `none` have nothing to take hold of."""
    kid, claims, signature = office.signer.sign(passport(job="j", asked="a", streams=("s.v1",))).split(".")
    written = json.dumps(header).replace("{kid}", kid).encode()
    encoded = base64.urlsafe_b64encode(written).rstrip(b"=").decode()
    mac = hmac.digest(office.public_key, f"{encoded}.{claims}".encode(), "sha256")
    hashed = base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
    for token in (f"{encoded}.{claims}.", f"{encoded}.{claims}.{hashed}", f"{encoded}.{claims}.{signature}"):
        with pytest.raises(PassportKeyUnknownError):
            office.verifier.verify(token, stream="s.v1", job="j", asked="a")
    for token in (f"{kid}.{claims}.", f"{kid}.{claims}.{hashed}"):
        with pytest.raises(PassportForgedError):
            office.verifier.verify(token, stream="s.v1", job="j", asked="a")


def test_an_expired_passport_is_told_apart_from_a_forged_one(office: Office) -> None:
    expired = passport(job="j", asked="a", streams=("s.v1",), expires_at=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(PassportExpiredError):
        office.verifier.verify(office.signer.sign(expired), stream="s.v1", job="j", asked="a")


def test_a_passport_that_was_verified_before_expires_all_the_same(office: Office) -> None:
    made = passport(job="j", asked="a", streams=("s.v1",), expires_at=datetime.now(UTC) + timedelta(seconds=1.5))
    token = office.signer.sign(made)

    def expired() -> bool:
        try:
            office.verifier.verify(token, stream="s.v1", job="j", asked="a")
        except PassportExpiredError:
            return True
        return False

    assert not expired()
    wait_for(expired, "its end")


def test_a_scope_reaches_up_to_its_clearance_and_no_higher() -> None:
    assert passport(clearance=Level.INTERNAL).scope.levels == (Level.EXTERNAL, Level.INTERNAL)
    external = passport(clearance=Level.EXTERNAL, rights=frozenset(Right)).scope
    assert external.levels == (Level.EXTERNAL,)
    with pytest.raises(AccessDeniedError):
        external.at(Level.INTERNAL)


def test_a_passport_for_a_single_level_reaches_no_other(office: Office) -> None:
    """Neither above its clearance nor below."""
    made = passport(job="j", asked="a", streams=("s.v1",), clearance=Level.INTERNAL, single_level=True)
    scope = office.verifier.verify(office.signer.sign(made), stream="s.v1", job="j", asked="a").scope
    assert scope.levels == (Level.INTERNAL,)
    with pytest.raises(AccessDeniedError):
        scope.at(Level.EXTERNAL)


def test_internal_is_the_higher_level() -> None:
    assert max(Level) is Level.INTERNAL
    assert Level.EXTERNAL < Level.INTERNAL
    assert not Level.INTERNAL < Level.INTERNAL
