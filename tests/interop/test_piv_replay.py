"""What ykman does to one token is recorded, and played to another one with keys of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from host_tools.testing import Run, Scratch, ScratchToken
from tests import piv_cards
from tests.interop.pcscd import DOORS, Readers, readers

PIN, KEY = piv_cards.PIN.decode(), piv_cards.MANAGEMENT_KEY.hex()
SECRETS = {"KLYUCH_PIN": PIN, "KLYUCH_MANAGEMENT_KEY": KEY}
# Each key signs its own certificate.
SESSION = """
set -e
ykman() { "$YKMAN" --reader "$READER" piv "$@"; }
ykman keys generate -m "$KEY" -a ECCP256 9a 9a.pub
ykman certificates generate -m "$KEY" -P "$PIN" -s CN=somebody 9a 9a.pub
ykman keys generate -m "$KEY" -a RSA2048 9c 9c.pub
ykman certificates generate -m "$KEY" -P "$PIN" -s CN=somebody 9c 9c.pub
"""


@pytest.fixture
def there(home: Scratch, token: ScratchToken) -> Iterator[Readers]:
    """A factory-new token in a reader that shows PIV."""
    with readers(home, DOORS["ifd"](home, "piv"), [token.serial]) as made:
        made.client().call("wait_for", made.name(), True)
        yield made


@pytest.fixture
def recording(there: Readers, klyuch: Run, token: ScratchToken, tmp_path: Path) -> Path:
    path = tmp_path / "session.klog"
    (tmp_path / "session").write_text(f"cd {tmp_path}\n{SESSION}")
    ykman = str(Path(sys.executable).with_name("ykman"))
    given = {"YKMAN": ykman, "READER": there.name(), "PIN": PIN, "KEY": KEY}
    arguments = ("record", "--token", token.serial, "--app", "piv", "-o", str(path), "--")
    klyuch(*arguments, "sh", str(tmp_path / "session"), **{**there.environment, **given})
    return path


def test_a_session_of_ykman_is_played_with_the_pin_and_the_management_key(
    recording: Path, klyuch: Run, home: Scratch
) -> None:
    spare = home.create_token("Spare")
    arguments = ("replay", str(recording), "--token", spare.serial, "--yes", "--json")
    report = json.loads(klyuch(*arguments, **SECRETS).stdout)
    assert report["counts"]["different"] == 0
    # What the daemon itself reads on the token, by the PKI application, nobody has sent.
    assert "READ BINARY" not in recording.read_text(encoding="utf-8")
    uses = [item for item in report["exchanges"] if item["name"] == "GENERAL AUTHENTICATE"]
    assert len(uses) >= 2 + 2 * 4
    assert {item["outcome"] for item in uses} == {"same"}


def test_neither_the_pin_nor_the_management_key_is_kept(recording: Path) -> None:
    text = recording.read_text(encoding="utf-8")
    assert "GENERAL AUTHENTICATE" in text
    assert KEY not in text
    assert PIN.encode().hex() not in text


def test_without_the_management_key_its_proofs_are_skipped(
    recording: Path, klyuch: Run, home: Scratch, tmp_path: Path
) -> None:
    spare = home.create_token("Spare")
    arguments = ("replay", str(recording), "--token", spare.serial, "--yes")
    assert "management key is masked" in klyuch(*arguments, "--json", code=1, KLYUCH_PIN=PIN).stdout
    (tmp_path / "key").write_text("0102")
    wrong = klyuch(*arguments, "--management-key-file", str(tmp_path / "key"), code=2)
    assert "hexadecimal" in wrong.stderr
