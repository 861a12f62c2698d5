"""`sluice keys rotate-passport` and `retire-passport`."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sluice.access import PassportSigner, PassportVerifier
from sluice.cli.keys import create_keys
from sluice.cli.passport_keys import let_heads_be_signed, make_next, retire, sign_with_next
from sluice.errors import ConfigurationError, PassportKeyUnknownError
from sluice.passportkeys import PrivateKeyFile, PublicKeyFiles
from tests.support.identity import passport
from tests.support.waiting import wait_for

LIFE = timedelta(hours=6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_keys(tmp_path)
    return tmp_path


def sign(signer: PassportSigner) -> str:
    return signer.sign(passport(job="j", asked="a", streams=("s.v1",)))


def verify(verifier: PassportVerifier, token: str) -> None:
    verifier.verify(token, stream="s.v1", job="j", asked="a")


def test_the_signing_key_is_rotated_under_a_running_gateway_and_worker(folder: Path) -> None:
    """At no moment is anything signed that a worker would refuse."""
    signer, verifier = (
        PassportSigner.of(PrivateKeyFile(folder / "passport.key")),
        PassportVerifier.of(PublicKeyFiles(folder)),
    )
    before = sign(signer)
    new = make_next(folder)

    def every_worker_notices(_: float) -> None:
        wait_for(lambda: PublicKeyFiles(folder)(new) is not None, "the new public key")
        assert not sign(signer).startswith(new)

    sign_with_next(folder, every_worker_notices)
    wait_for(lambda: sign(signer).startswith(new), "the new signer")
    verify(verifier, before)
    verify(verifier, sign(signer))


def test_an_old_key_is_given_up_when_its_passports_have_expired_and_not_before(folder: Path) -> None:
    before = sign(PassportSigner.of(PrivateKeyFile(folder / "passport.key")))
    make_next(folder)
    assert retire(folder, timedelta(), datetime.now(UTC)) == []  # the next key is not the old one
    sign_with_next(folder, lambda _: None)
    with pytest.raises(ConfigurationError, match="until"):
        retire(folder, LIFE, datetime.now(UTC) + LIFE / 2)
    verify(PassportVerifier.of(PublicKeyFiles(folder)), before)
    old = before.partition(".")[0]
    assert retire(folder, LIFE, datetime.now(UTC) + LIFE) == [old]
    verifier = PassportVerifier.of(PublicKeyFiles(folder))
    with pytest.raises(PassportKeyUnknownError):
        verify(verifier, before)
    verify(verifier, sign(PassportSigner.of(PrivateKeyFile(folder / "passport.key"))))
    assert (folder / f"retired-{old}.pub").exists()


def test_a_key_that_was_stolen_is_given_up_when_the_audit_logs_heads_are_signed_with_the_next(folder: Path) -> None:
    waited: list[float] = []
    make_next(folder)
    sign_with_next(folder, lambda _: None)
    let_heads_be_signed(folder, waited.append)
    assert 60 < waited.pop() <= 75
    long_ago = time.time() - 100
    os.utime(folder / "passport.key", (long_ago, long_ago))
    let_heads_be_signed(folder, waited.append)
    assert waited == []


def test_a_rotation_that_was_cut_off_goes_on_with_the_same_key(folder: Path) -> None:
    new = make_next(folder)
    (folder / f"passport-{new}.pub").unlink()
    assert make_next(folder) == new
    sign_with_next(folder, lambda _: None)
    assert make_next(folder) != new


def test_the_new_keys_are_for_those_who_may_read_the_old_ones(folder: Path) -> None:
    (folder / "passport.pub").chmod(0o644)
    new = make_next(folder)
    modes = {name: (folder / name).stat().st_mode & 0o777 for name in ("passport.next", f"passport-{new}.pub")}
    assert modes == {"passport.next": 0o600, f"passport-{new}.pub": 0o644}


def test_making_keys_again_adds_no_second_copy_of_a_rotated_one(folder: Path) -> None:
    make_next(folder)
    sign_with_next(folder, lambda _: None)
    retire(folder, timedelta(), datetime.now(UTC))
    assert create_keys(folder) == []
