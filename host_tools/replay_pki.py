"""PKI keys in a replay: their signatures are compared by what their public keys say of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from apdu.codec import Command, Response
from apdu.model import SW, StatusWordError
from apdu.tlv import TlvError
from apdu.transport import CardClient, Transport, TransportError
from host_tools.conformance.pki_commands import PKI
from host_tools.replay_uses import BYTES_AVAILABLE, IncomparableError, Joined, UnlikeError
from pkcs11_module.cards.card import TokenCard
from pkcs11_module.cards.card_keys import key_reference, parse_public_key
from token_fw.apps.pki.algorithms import (
    KEY_TEMPLATE,
    SIGNATURE_TEMPLATE,
    Environment,
    parse_mse,
    pss_for,
)
from token_fw.apps.pki.key_commands import parse_generate
from token_fw.apps.pki.keys import KINDS
from token_fw.crypto import (
    CryptoError,
    Ecdsa,
    Hash,
    InvalidSignature,
    KeyKind,
    KeySpec,
    PublicKey,
    RsaPublicKey,
    RsaRaw,
    SignScheme,
    digest,
    ecdsa_numbers,
)
from token_fw.errors import CardError, WrongLength

_SIGN = "PSO COMPUTE DIGITAL SIGNATURE"
_VERSION = 0x01
_TOO_LARGE = frozenset((SW.WRONG_LENGTH, SW.INCORRECT_DATA))

PublicKeys = dict[int, PublicKey | None]
"""By reference; None where the card does not tell."""


@dataclass
class Uses:
    """Follows MSE SET and what comes after it on one way to a card, through chains and parts.

    `public` are the keys that this replay has made, or asked for; all ways share them.
    """

    card: Transport
    public: PublicKeys
    _joined: Joined = field(default_factory=Joined)
    _chosen: dict[int, Environment] = field(default_factory=dict)
    _key_choice: Command | None = None
    # Until its version is asked for, which holds over a reset, IsoApplet hashes for ECDSA itself.
    _hashes: bool = True

    def answered(self, command: Command, response: Response) -> bool:
        """Note a command with its answer; whether it is a signature to compare, or a part of one.

        Without a public key a whole signature is none. Raises UnlikeError where the answer is
        whole, and wrong; IncomparableError, TransportError.
        """
        whole = self._joined.add(command, response)
        if whole is None:
            return False
        asked, answer = whole
        spec = PKI.match(asked.cla, asked.ins, asked.p1, asked.p2)
        name = "" if spec is None else spec.name
        if name == _SIGN:
            return self._signed(asked.data, answer)
        if answer.sw == SW.NO_ERROR and name in _DONE:
            _DONE[name](self, asked, answer.data)
        return False

    def was_reset(self) -> None:
        """No key is chosen any more."""
        self._joined = Joined()
        self._forget()

    def _forget(self) -> None:
        self._chosen.clear()
        self._key_choice = None

    def _selected(self, asked: Command, _: bytes) -> None:
        if asked.p1 == 0x04 and PKI.is_named(asked.data):
            self._forget()

    def _told(self, asked: Command, _: bytes) -> None:
        if asked.p2 == _VERSION:
            self._hashes = False

    def _chose(self, asked: Command, _: bytes) -> None:
        if asked.p2 == KEY_TEMPLATE:
            self._key_choice = asked
        try:
            self._chosen[asked.p2] = parse_mse(asked)
        except (CardError, TlvError):
            # Another card may have algorithms of its own: what they make is compared by its form.
            self._chosen.pop(asked.p2, None)

    def _generated(self, asked: Command, answer: bytes) -> None:
        environment = self._chosen.get(KEY_TEMPLATE)
        if environment is None or environment.kind is None:
            return
        self.public.pop(environment.reference, None)
        try:
            curve = parse_generate(asked).curve
        except (CardError, CryptoError, TlvError):
            # A curve that only the card knows.
            return
        kind = KINDS[environment.kind]
        spec = curve.spec if curve is not None else kind
        try:
            if not isinstance(spec, KeySpec):
                raise UnlikeError("a key was made without its curve")
            self.public[environment.reference] = parse_public_key(spec, answer)
        except TransportError as error:
            raise UnlikeError("the answer is no public key of that kind") from error

    def _deleted(self, asked: Command, _: bytes) -> None:
        self.public.pop(asked.p1 << 8 | asked.p2, None)

    def _signed(self, data: bytes, answer: Response) -> bool:
        if answer.sw1 == BYTES_AVAILABLE:
            return True
        environment = self._chosen.get(SIGNATURE_TEMPLATE)
        if environment is None:
            return False
        if answer.sw in _TOO_LARGE and isinstance(environment.scheme, RsaRaw):
            self._refused(environment, data)
        if answer.sw != SW.NO_ERROR:
            return False
        public = self._public(environment.reference)
        if public is not None:
            check_signature(public, environment, data, answer.data, hashes=self._hashes)
        return public is not None

    def _refused(self, environment: Environment, data: bytes) -> None:
        """Raises IncomparableError where RSA is given a number that this card's key cannot take."""
        public = self._public(environment.reference)
        if not isinstance(public, RsaPublicKey):
            return
        modulus = public.modulus
        # Big-endian numbers of one length compare as their bytes do.
        if len(data) == len(modulus) and data >= modulus:
            raise IncomparableError("it was made for a key with a larger modulus")

    def _public(self, reference: int) -> PublicKey | None:
        if reference not in self.public:
            self.public[reference] = self._asked(reference)
        return self.public[reference]

    def _asked(self, reference: int) -> PublicKey | None:
        """What the card tells of a key that was there before; then what was chosen is again.

        The use is over: a command more disturbs nothing, and the next use asks for its own VERIFY.
        """
        card = TokenCard(self.card, selected=True)
        try:
            spec = card.keys()[reference].spec
        except (StatusWordError, KeyError):
            return None
        try:
            return card.public_key(reference, spec)
        except (StatusWordError, KeyError):
            return None
        finally:
            # A reference alone makes and imports no key, as before anything was chosen.
            without_kind = Command(0x00, 0x22, 0x41, KEY_TEMPLATE, key_reference(reference))
            CardClient(self.card).send(self._key_choice or without_kind)


_DONE: Mapping[str, Callable[[Uses, Command, bytes], None]] = {
    "SELECT": Uses._selected,
    "GET DATA": Uses._told,
    "MSE SET": Uses._chose,
    "GENERATE ASYMMETRIC KEY PAIR": Uses._generated,
    "DELETE KEY": Uses._deleted,
}


def check_signature(
    public: PublicKey, environment: Environment, data: bytes, signature: bytes, *, hashes: bool
) -> None:
    """Compare the answer to PSO COMPUTE DIGITAL SIGNATURE with the public key.

    `hashes`: whether the card itself hashes by SHA-1 for ECDSA with IsoApplet's algorithm 21.
    Raises UnlikeError, and IncomparableError where PSS is to follow a digest that no hash has.
    """
    assert environment.algorithm is not None
    scheme = environment.scheme
    try:
        environment.algorithm.check(public.spec.kind)
        if scheme is None and public.spec.kind is KeyKind.EC:
            scheme = Ecdsa()
            data = digest.compute(Hash.SHA1, data) if hashes else data
        if isinstance(scheme, Ecdsa):
            scheme, signature = Ecdsa(), ecdsa_numbers(public.spec, signature)
        public.verify(cast("SignScheme", scheme or pss_for(data)), data, signature)
    except InvalidSignature:
        raise UnlikeError("the signature is wrong") from None
    except WrongLength as error:
        raise IncomparableError(str(error)) from None
    except (CardError, CryptoError) as error:
        raise UnlikeError(f"no signature of the key: {error}") from None
