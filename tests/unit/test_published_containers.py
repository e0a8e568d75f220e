"""The containers that the standards print, as they print them: in `published`, in Base64."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path

import pytest

from host_tools.pki import pbes2, pkcs12
from host_tools.pki.errors import UnknownAlgorithm
from host_tools.pki.pbes2 import WrongPassphrase
from token_fw.crypto import Hash

FOLDER = Path(__file__).parent / "published"
PASSPHRASE = "Пароль для PFX"
ORIGINATOR = "ORIGINATOR: GOST 34.10-12 512-bit"


def container(name: str) -> bytes:
    return b64decode((FOLDER / f"{name}.p12.b64").read_text())


@pytest.mark.parametrize("name", ["rfc9548-a2", "rfc9548-a3"])
def test_the_examples_of_rfc_9548_give_the_key_of_their_certificate(name: str) -> None:
    """A.2: the certificate is not encrypted; A.3: it is, and both ciphers are Magma."""
    opened = pkcs12.read(container(name), PASSPHRASE)
    (certificate,) = opened.certificates
    assert certificate.subject.native["common_name"] == ORIGINATOR
    assert opened.key.public().to_spki() == certificate.public_key.dump()


@pytest.mark.parametrize("name", ["rfc9548-a2", "rfc9548-a3", "r50.1.112-2016-a"])
def test_a_wrong_passphrase_opens_none_of_them(name: str) -> None:
    with pytest.raises(WrongPassphrase):
        pkcs12.read(container(name), "пароль для PFX")


@pytest.mark.parametrize(
    ("cipher", "ukm"), [("magma_ctr_acpkm_omac", 12), ("kuznyechik_ctr_acpkm_omac", 16)]
)
def test_the_code_of_a_content_is_checked(cipher: str, ukm: int) -> None:
    protection = pbes2.Protection(cipher, Hash.STREEBOG512, 1, lambda: {"ukm": bytes(range(ukm))})
    algorithm, sealed = pbes2.seal(protection, b"a certificate", b"sesame")
    assert pbes2.unseal(algorithm, sealed, b"sesame") == b"a certificate"
    for wrong in (sealed[:-1], sealed[:5], b"", bytes((sealed[0] ^ 1,)) + sealed[1:]):
        with pytest.raises(WrongPassphrase):
            pbes2.unseal(algorithm, wrong, b"sesame")


def test_that_of_the_standard_before_it_is_refused_by_its_cipher() -> None:
    """R 50.1.112-2016 A is encrypted with GOST 28147-89; its MAC is that of RFC 9548."""
    with pytest.raises(UnknownAlgorithm, match="GOST 28147-89"):
        pkcs12.read(container("r50.1.112-2016-a"), PASSPHRASE)
