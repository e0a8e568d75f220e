"""PyKCS11, which takes TC26's numbers, plays what Aktiv's programs do with a token."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import PyKCS11
import pytest
from asn1crypto import pem
from asn1crypto.keys import PublicKeyInfo
from asn1crypto.x509 import Certificate

from host_tools.cryptoki import LIBRARY
from host_tools.testing import ScratchToken
from pkcs11_module import _constants as ck
from tests.conftest import program
from tests.interop import signers
from tests.interop.consumers import Owner, call
from token_fw.crypto import (
    GOST_SIZES,
    Gost3410,
    GostPublicKey,
    Hash,
    KeySpec,
    digest,
    gost_private,
    gost_public,
    load_public,
)

DOCUMENT: Final = "Заявление\n".encode() * 500
SETS: Final = {
    # The set, and what its keys hash and sign with.
    "CryptoPro-A": (
        Hash.STREEBOG256,
        ck.CKM_GOSTR3410,
        ck.CKM_GOSTR3410_WITH_GOSTR3411_12_256,
        ck.CKM_GOSTR3411_12_256,
    ),
    "tc26-512-A": (
        Hash.STREEBOG512,
        ck.CKM_GOSTR3410_512,
        ck.CKM_GOSTR3410_WITH_GOSTR3411_12_512,
        ck.CKM_GOSTR3411_12_512,
    ),
}
ANY, USER_CERTIFICATE, AUTHORITY = (number.to_bytes(8, "little") for number in range(3))
"""Values of CKA_CERTIFICATE_CATEGORY, of which PyKCS11 does not know that they are numbers."""
IDENTIFIERS: Final = {
    Hash.STREEBOG256: b"\x06\x08*\x85\x03\x07\1\1\2\2",
    Hash.STREEBOG512: b"\x06\x08*\x85\x03\x07\1\1\2\3",
}


@contextmanager
def opened(token: ScratchToken) -> Iterator[Any]:
    """A session of PyKCS11 that nobody has logged in to."""
    library = PyKCS11.PyKCS11Lib()
    library.load(str(LIBRARY))
    session = library.openSession(token.slot, PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION)
    try:
        yield session
    finally:
        session.closeSession()
        library.unload()


def ask(session: Any, handle: Any, *names: int) -> list[bytes]:
    """Values of attributes as bytes."""
    return [bytes(value) for value in session.getAttributeValue(handle, names, True)]


def point_in(certificate: bytes) -> bytes:
    """The point of a certificate's key, by its SubjectPublicKeyInfo."""
    spki = Certificate.load(certificate)["tbs_certificate"]["subject_public_key_info"].dump()
    key = load_public(spki)
    assert isinstance(key, GostPublicKey)
    return key.point


def certified(owner: Owner, name: str) -> None:
    """A key whose certificate says that it is the user's own, and another key."""
    owner.run("key", "generate", name, "--label", "mine", "--id", "07")
    file = owner.folder / "mine.pem"
    request = ("cert", "request", "mine", "--subject", "CN=Иванов", "--self-signed", "-o", file)
    owner.run(*request)
    owner.run("cert", "delete", "mine", "--yes")
    _, _, value = pem.unarmor(file.read_bytes())
    parsed = Certificate.load(value)["tbs_certificate"]
    owner.run("key", "generate", name, "--label", "another")
    with opened(owner.token) as session:
        session.login(owner.token.pin)
        session.createObject(
            [
                (ck.CKA_CLASS, ck.CKO_CERTIFICATE),
                (ck.CKA_CERTIFICATE_TYPE, ck.CKC_X_509),
                (ck.CKA_CERTIFICATE_CATEGORY, USER_CERTIFICATE),
                (ck.CKA_TOKEN, True),
                (ck.CKA_PRIVATE, False),
                (ck.CKA_SUBJECT, parsed["subject"].dump()),
                (ck.CKA_ID, b"\7"),
                (ck.CKA_VALUE, value),
            ]
        )


@pytest.mark.parametrize("name", SETS)
def test_a_program_finds_the_key_of_a_certificate_before_the_login_and_signs_after_it(
    owner: Owner, name: str
) -> None:
    certified(owner, name)
    with opened(owner.token) as session:
        play(owner, session, name)


def test_a_program_finds_what_klyuch_stored_by_its_category(owner: Owner) -> None:
    """The user's certificates beside their keys, authorities, and those of other people."""
    root = owner.folder / "root.pem"
    files = {AUTHORITY: root, ANY: owner.folder / "bob.pem"}
    root.write_bytes(signers.pem(signers.authority("Root").certificate))
    files[ANY].write_bytes(signers.pem(signers.holder("Bob").certificate))
    mine = owner.folder / "mine.pem"
    owner.run("key", "generate", "CryptoPro-A", "--label", "mine")
    request = ("cert", "request", "mine", "--subject", "CN=Ann", "--self-signed", "-o", mine)
    owner.run(*request)
    for file in files.values():
        owner.run("cert", "import", file)
    owner.run("key", "generate", "P-256", "--label", "root's")
    authority = owner.folder / "own.pem"
    own = ("cert", "request", "root's", "--subject", "CN=CA", "--profile", "ca", "--self-signed")
    owner.run(*own, "-o", authority)
    expected = {USER_CERTIFICATE: [mine], AUTHORITY: [root, authority], ANY: [files[ANY]]}
    with opened(owner.token) as session:
        for category, wanted in expected.items():
            searched = [
                (ck.CKA_CLASS, ck.CKO_CERTIFICATE),
                (ck.CKA_CERTIFICATE_CATEGORY, category),
            ]
            found = [ask(session, one, ck.CKA_VALUE)[0] for one in session.findObjects(searched)]
            assert found == [pem.unarmor(one.read_bytes())[2] for one in wanted]


def play(owner: Owner, session: Any, name: str) -> None:
    """Aktiv's flow, from the search for certificates to the signature."""
    hash_, raw, hashing, digests = SETS[name]
    found = [
        handle
        for category in (ANY, USER_CERTIFICATE)
        for handle in session.findObjects(
            [(ck.CKA_CLASS, ck.CKO_CERTIFICATE), (ck.CKA_CERTIFICATE_CATEGORY, category)]
        )
    ]
    (certificate,) = found
    (value,) = ask(session, certificate, ck.CKA_VALUE)
    point = point_in(value)
    wanted = [(ck.CKA_CLASS, ck.CKO_PUBLIC_KEY), (ck.CKA_VALUE, point)]
    (public,) = session.findObjects(wanted)
    parameters, ident = ask(session, public, ck.CKA_GOSTR3411_PARAMS, ck.CKA_ID)
    assert parameters == IDENTIFIERS[hash_]
    assert ident == b"\7"
    assert session.findObjects([(ck.CKA_CLASS, ck.CKO_PRIVATE_KEY)]) == []

    session.login(owner.token.pin)
    (private,) = session.findObjects([(ck.CKA_CLASS, ck.CKO_PRIVATE_KEY), (ck.CKA_ID, ident)])
    hashed = bytes(session.digest(DOCUMENT, PyKCS11.Mechanism(digests, None)))
    assert hashed == digest.compute(hash_, DOCUMENT)
    by_digest = bytes(session.sign(private, hashed, PyKCS11.Mechanism(raw, parameters)))
    by_document = bytes(session.sign(private, DOCUMENT, PyKCS11.Mechanism(hashing, None)))
    assert session.verify(public, hashed, by_digest, PyKCS11.Mechanism(raw, None))
    for signature in (by_digest, by_document):
        gost_public(name, point).verify(Gost3410(), hashed, signature)
        engine_verifies(owner.folder, value, hashed, signature)


def engine_verifies(folder: Path, certificate: bytes, hashed: bytes, signature: bytes) -> None:
    """OpenSSL's gost engine finds the signature good by the certificate's key."""
    spki: PublicKeyInfo = Certificate.load(certificate)["tbs_certificate"][
        "subject_public_key_info"
    ]
    files = {"public": spki.dump(), "hashed": hashed, "signature": signature}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    command: list[str | Path] = [program("openssl", "openssl"), "pkeyutl", "-verify"]
    command += ["-engine", "gost", "-keyform", "DER", "-pubin", "-inkey", folder / "public"]
    command += ["-sigfile", folder / "signature", "-in", folder / "hashed"]
    assert "Signature Verified Successfully" in call(command, {}).stdout


def test_pairs_are_made_by_the_numbers_of_tc26(token: ScratchToken) -> None:
    with opened(token) as session:
        session.login(token.pin)
        make_pair(session)


def make_pair(session: Any) -> None:
    oid = b"\x06\x09*\x85\x03\x07\1\2\1\2\2"
    public, private = session.generateKeyPair(
        [(ck.CKA_TOKEN, True), (ck.CKA_GOSTR3410_PARAMS, oid), (ck.CKA_VERIFY, True)],
        [(ck.CKA_TOKEN, True), (ck.CKA_PRIVATE, True), (ck.CKA_SIGN, True)],
        mecha=PyKCS11.Mechanism(ck.CKM_GOSTR3410_512_KEY_PAIR_GEN, None),
    )
    key_type, told, point = ask(
        session, public, ck.CKA_KEY_TYPE, ck.CKA_GOSTR3410_PARAMS, ck.CKA_VALUE
    )
    assert int.from_bytes(key_type, "little") == ck.CKK_GOSTR3410_512
    assert told == oid
    mechanism = PyKCS11.Mechanism(ck.CKM_GOSTR3410_WITH_GOSTR3411_12_512, None)
    signature = bytes(session.sign(private, DOCUMENT, mechanism))
    hashed = digest.compute(Hash.STREEBOG512, DOCUMENT)
    gost_public("tc26-512-B", point).verify(Gost3410(), hashed, signature)


@pytest.mark.parametrize("number", ["I", "Q"], ids=["32 bits", "64 bits"])
@pytest.mark.parametrize("name", SETS)
def test_two_owners_agree_by_a_parameter_in_one_buffer(
    token: ScratchToken, name: str, number: str
) -> None:
    """As Aktiv's wrappers send it; PyKCS11 sends any bytes."""
    peer = gost_private(name, b"\x1a" * GOST_SIZES[KeySpec.gost(name).kind])
    ukm, theirs = bytes(range(1, 9)), peer.public().point
    size = len(theirs)
    packed = struct.pack(f"<2{number}{size}s{number}8s", ck.CKD_NULL, size, theirs, 8, ukm)
    with opened(token) as session:
        session.login(token.pin)
        point, agreed = agree(session, name, packed)
        assert agreed == peer.vko(point, ukm, 32)
        with pytest.raises(PyKCS11.PyKCS11Error, match="CKR_MECHANISM_PARAM_INVALID"):
            agree(session, name, packed[:-1])


def agree(session: Any, name: str, parameter: bytes) -> tuple[bytes, bytes]:
    """The point of a new key of the token, and the secret that it derives."""
    pairs = {32: ck.CKM_GOSTR3410_KEY_PAIR_GEN, 64: ck.CKM_GOSTR3410_512_KEY_PAIR_GEN}
    spec = KeySpec.gost(name)
    public, private = session.generateKeyPair(
        [(ck.CKA_TOKEN, True), (ck.CKA_GOSTR3410_PARAMS, spec.oid_der)],
        [(ck.CKA_TOKEN, True), (ck.CKA_PRIVATE, True), (ck.CKA_DERIVE, True)],
        mecha=PyKCS11.Mechanism(pairs[GOST_SIZES[spec.kind]], None),
    )
    secret = session.deriveKey(
        private,
        [
            (ck.CKA_CLASS, ck.CKO_SECRET_KEY),
            (ck.CKA_KEY_TYPE, ck.CKK_GENERIC_SECRET),
            (ck.CKA_SENSITIVE, False),
            (ck.CKA_EXTRACTABLE, True),
        ],
        PyKCS11.Mechanism(ck.CKM_GOSTR3410_12_DERIVE, parameter),
    )
    (point,) = ask(session, public, ck.CKA_VALUE)
    (value,) = ask(session, secret, ck.CKA_VALUE)
    return point, value
