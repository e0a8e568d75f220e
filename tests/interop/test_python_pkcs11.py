"""python-pkcs11 makes, finds and uses keys in this very process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from asn1crypto.core import OctetString
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.util.ec import encode_ecdsa_signature, encode_named_curve_parameters

from host_tools.testing import Run, Scratch, ScratchToken
from token_fw.crypto import KeyKind, KeySpec, edwards_public

MESSAGE = b"python-pkcs11 was here"


@pytest.fixture
def session(home: Scratch, token: ScratchToken) -> Iterator[Any]:
    """A session of the user; the library is loaded once a process, and finalised each time."""
    library = pkcs11.lib(str(home.library))
    try:
        card = library.get_token(token_label=token.label)
        with card.open(rw=True, user_pin=token.pin) as session:
            yield session
    finally:
        library.finalize()


def test_rsa_key_is_made_found_and_used(session: Any) -> None:
    public, private = session.generate_keypair(
        KeyType.RSA, 2048, id=b"\x21", label="rsa", store=True
    )
    found = session.get_key(ObjectClass.PRIVATE_KEY, label="rsa")
    for mechanism in (Mechanism.SHA256_RSA_PKCS, Mechanism.SHA512_RSA_PKCS):
        signature = found.sign(MESSAGE, mechanism=mechanism)
        assert public.verify(MESSAGE, signature, mechanism=mechanism)
        assert not public.verify(MESSAGE + b"!", signature, mechanism=mechanism)
    cryptogram = public.encrypt(MESSAGE, mechanism=Mechanism.RSA_PKCS)
    assert private.decrypt(cryptogram, mechanism=Mechanism.RSA_PKCS) == MESSAGE
    assert private[Attribute.SENSITIVE]
    assert not private[Attribute.EXTRACTABLE]
    with pytest.raises(pkcs11.AttributeSensitive):
        private[Attribute.PRIVATE_EXPONENT]


def test_ec_key_is_made_found_and_used(session: Any) -> None:
    parameters = session.create_domain_parameters(
        KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}, local=True
    )
    public, _ = parameters.generate_keypair(id=b"\x22", label="ec", store=True)
    private = session.get_key(ObjectClass.PRIVATE_KEY, id=b"\x22")
    signature = private.sign(MESSAGE, mechanism=Mechanism.ECDSA_SHA256)
    assert public.verify(MESSAGE, signature, mechanism=Mechanism.ECDSA_SHA256)
    assert len(encode_ecdsa_signature(signature)) > len(signature)


def test_ed448_key_is_made_and_used(session: Any, openssl: Run, tmp_path: Path) -> None:
    parameters = session.create_domain_parameters(
        KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: KeySpec.ED448.oid_der}, local=True
    )
    public, private = parameters.generate_keypair(store=True)
    pure = {"mechanism": Mechanism.EDDSA, "mechanism_param": (False, None)}
    signature = private.sign(MESSAGE, **pure)
    assert public.verify(MESSAGE, signature, **pure)
    assert not public.verify(MESSAGE + b"!", signature, **pure)
    spki, signed, message = (tmp_path / name for name in ("spki", "signed", "message"))
    point = OctetString.load(public[Attribute.EC_POINT]).native
    spki.write_bytes(edwards_public(KeyKind.ED448, point).to_spki())
    signed.write_bytes(signature)
    message.write_bytes(MESSAGE)
    judged = ("-pubin", "-keyform", "DER", "-inkey", spki, "-sigfile", signed, "-in", message)
    openssl("pkeyutl", "-verify", "-rawin", *judged)
    with pytest.raises(pkcs11.MechanismParamInvalid):
        private.sign(MESSAGE, mechanism=Mechanism.EDDSA, mechanism_param=(False, b"context"))


def test_a_session_key_does_not_outlive_its_session(session: Any) -> None:
    with session.token.open(rw=True) as passing:
        public, _ = passing.generate_keypair(KeyType.RSA, 2048, label="passing", store=False)
        private = session.get_key(ObjectClass.PRIVATE_KEY, label="passing")
        signature = private.sign(MESSAGE, mechanism=Mechanism.SHA256_RSA_PKCS)
        assert public.verify(MESSAGE, signature, mechanism=Mechanism.SHA256_RSA_PKCS)
    with pytest.raises(pkcs11.NoSuchKey):
        session.get_key(ObjectClass.PRIVATE_KEY, label="passing")
