"""The keys of passports: several at once, rotated under running processes."""

from pathlib import Path

import pytest

from sluice.access import PassportSigner, PassportVerifier
from sluice.errors import ConfigurationError, InvalidPassportError, PassportKeyUnknownError
from sluice.passportkeys import PrivateKeyFile, PublicKeyFiles
from tests.support.identity import Office, passport
from tests.support.waiting import wait_for


def accepted(verifier: PassportVerifier, token: str) -> bool:
    try:
        verifier.verify(token, stream="s.v1", job="j", asked="a")
    except InvalidPassportError:
        return False
    return True


def token(signer: PassportSigner) -> str:
    return signer.sign(passport(job="j", asked="a", streams=("s.v1",)))


def test_a_running_verifier_takes_a_new_key_and_gives_up_a_removed_one(tmp_path: Path) -> None:
    """What the removed key signed is refused then, also what was verified before."""
    old, new = Office(), Office()
    (tmp_path / "passport.pub").write_bytes(old.public_key)
    verifier = PassportVerifier.of(PublicKeyFiles(tmp_path))
    assert accepted(verifier, token(old.signer))
    assert not accepted(verifier, token(new.signer))
    (tmp_path / "passport-2.pub").write_bytes(new.public_key)
    wait_for(lambda: accepted(verifier, token(new.signer)), "the new key")
    before = token(old.signer)
    assert accepted(verifier, before)
    (tmp_path / "passport.pub").unlink()
    wait_for(lambda: not accepted(verifier, before), "the old key's end")
    with pytest.raises(PassportKeyUnknownError):
        verifier.verify(before, stream="s.v1", job="j", asked="a")
    assert accepted(verifier, token(new.signer))


def test_a_running_signer_changes_to_the_new_key(tmp_path: Path) -> None:
    old, new = Office(), Office()
    file = tmp_path / "passport.key"
    file.write_bytes(old.private_key)
    signer = PassportSigner.of(PrivateKeyFile(file))
    assert accepted(old.verifier, token(signer))
    draft = tmp_path / "draft"
    draft.write_bytes(new.private_key)
    draft.replace(file)
    wait_for(lambda: accepted(new.verifier, token(signer)), "the new key")


def test_a_mishap_with_the_files_leaves_the_keys_as_they_were(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Half a file, or an emptied folder: what would be refused meanwhile could not be taken back."""
    old, new = Office(), Office()
    first, second = tmp_path / "passport.pub", tmp_path / "passport-2.pub"
    first.write_bytes(old.public_key)
    verifier = PassportVerifier.of(PublicKeyFiles(tmp_path))

    def tells(event: str) -> bool:
        return accepted(verifier, token(old.signer)) and event in caplog.text

    first.unlink()
    wait_for(lambda: tells("passport.keys-gone"), "the look at an empty folder")
    second.write_bytes(new.public_key[:7])
    wait_for(lambda: tells("passport.keys-unread"), "the look at half a file")
    assert accepted(verifier, token(old.signer))
    second.write_bytes(new.public_key)
    wait_for(lambda: accepted(verifier, token(new.signer)), "the whole file")
    assert not accepted(verifier, token(old.signer))


def test_one_file_is_enough_and_none_stops_the_start(tmp_path: Path, office: Office) -> None:
    with pytest.raises(ConfigurationError):
        PublicKeyFiles(tmp_path)
    file = tmp_path / "another-name"
    with pytest.raises(ConfigurationError):
        PublicKeyFiles(file)
    file.write_bytes(office.public_key)
    assert accepted(PassportVerifier.of(PublicKeyFiles(file)), token(office.signer))
