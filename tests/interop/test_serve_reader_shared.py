"""A card in a reader that several programs use at the same time: never a wrong answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from apdu.transport import CardClient
from host_tools.conformance import piv_commands as piv
from host_tools.conformance import pki_commands as pki
from host_tools.cryptoki import Cryptoki, CryptokiError, Session
from host_tools.cryptoki_values import mechanism_of
from host_tools.objects import SPECS, find_key, generate, new_id, public_key
from host_tools.testing import Run
from host_tools.testing.application import RemoteApplication
from host_tools.testing.worker import Refused
from pkcs11_module import _constants as ck
from tests import cards, piv_cards
from tests.interop.pcsc_client import PcscClient
from tests.interop.served_reader import SLOT, Served
from token_fw.crypto import Ecdsa

HASHED = bytes(range(32))
SIGNATURES = 5
ATTEMPTS = 40


@pytest.fixture
def applications(pki_reader: Served) -> Iterator[list[RemoteApplication]]:
    """Two programs with our library and a session each; a key is on the card."""
    with ExitStack() as stack:
        made = [stack.enter_context(RemoteApplication()) for _ in range(2)]
        for one in made:
            one.call("open", SLOT)
        made[0].call("login", pki_reader.token.pin)
        made[0].call("generate", "P-256", "key")
        made[0].call("logout")
        yield made


@pytest.fixture
def session(pki_reader: Served) -> Iterator[Session]:
    """A session in which the user is logged in, and made a key."""
    with Cryptoki() as library:
        opened = library.open_session(SLOT)
        opened.login(ck.CKU_USER, pki_reader.token.pin.encode())
        generate(opened, SPECS["P-256"], "key", new_id(opened))
        yield opened


def check_signature(session: Session, label: str = "key") -> None:
    """Sign, and verify outside of the card."""
    key = find_key(session, label)
    made = session.sign(ck.CKM_ECDSA, key.private, HASHED)
    public_key(session, key.public).verify(Ecdsa(), HASHED, made)


def refusal(application: RemoteApplication, name: str, *arguments: object) -> str:
    with pytest.raises(Refused) as refused:
        application.call(name, *arguments)
    return str(refused.value)


def reset(other: PcscClient) -> None:
    """Another program resets the card."""
    other.call("reconnect")


def select_another_application(other: PcscClient) -> None:
    piv_cards.Client(other)


def select_anew(other: PcscClient) -> None:
    """Another program selects the same application, as ours does to begin with."""
    cards.Client(other)


def enter_a_wrong_pin(other: PcscClient) -> None:
    assert other.transceive(pki.verify(pki.USER, b"000000").encode())[:1] == b"\x63"


INTERRUPTIONS = [reset, select_another_application, select_anew, enter_a_wrong_pin]


@pytest.mark.parametrize("interrupt", INTERRUPTIONS)
def test_a_login_that_others_ended_is_noticed_and_made_anew(
    pki_reader: Served, session: Session, interrupt: Callable[[PcscClient], None]
) -> None:
    check_signature(session)
    key = find_key(session, "key").private
    interrupt(pki_reader.there.connect())
    with pytest.raises(CryptokiError, match="CKR_USER_NOT_LOGGED_IN"):
        session.sign(ck.CKM_ECDSA, key, HASHED)
    assert session.info().state == ck.CKS_RW_PUBLIC_SESSION
    session.login(ck.CKU_USER, pki_reader.token.pin.encode())
    check_signature(session)


@pytest.mark.parametrize("interrupt", INTERRUPTIONS)
def test_a_login_that_others_ended_between_begin_and_end_of_a_signature_gives_none(
    pki_reader: Served, session: Session, interrupt: Callable[[PcscClient], None]
) -> None:
    key = find_key(session, "key").private
    session.call("C_SignInit", mechanism_of(ck.CKM_ECDSA), key)
    interrupt(pki_reader.there.connect())
    with pytest.raises(CryptokiError, match="CKR_USER_NOT_LOGGED_IN"):
        session.output("C_Sign", HASHED, len(HASHED))


def test_after_a_reset_the_state_of_a_session_is_told_as_it_is(
    pki_reader: Served, session: Session
) -> None:
    assert session.info().state == ck.CKS_RW_USER_FUNCTIONS
    reset(pki_reader.there.connect())
    assert session.info().state == ck.CKS_RW_PUBLIC_SESSION
    # Not "already logged in".
    session.login(ck.CKU_USER, pki_reader.token.pin.encode())
    assert session.info().state == ck.CKS_RW_USER_FUNCTIONS


def test_the_beginning_of_a_signature_is_not_promised(pki_reader: Served, session: Session) -> None:
    key = find_key(session, "key").private
    for _ in range(3):
        session.sign(ck.CKM_ECDSA, key, HASHED)
    reset(pki_reader.there.connect())
    with pytest.raises(CryptokiError, match="CKR_USER_NOT_LOGGED_IN"):
        session.call("C_SignInit", mechanism_of(ck.CKM_ECDSA), key)


def test_a_security_environment_that_others_set_is_not_used(
    pki_reader: Served, session: Session
) -> None:
    generate(session, SPECS["P-256"], "other", new_id(session))
    other = pki_reader.there.connect()
    for reference in range(2):
        check_signature(session)
        assert other.transceive(pki.mse(pki.SIGN, pki.ECDSA, reference).encode()) == b"\x90\x00"
        check_signature(session)
        check_signature(session, "other")


def test_two_programs_sign_at_the_same_time(
    pki_reader: Served, applications: list[RemoteApplication]
) -> None:
    for one in applications:
        one.call("login", pki_reader.token.pin)
    for _ in range(20):
        for one in applications:
            one.send("sign", "key")
        assert [one.answer() for one in applications] == [True, True]


def test_a_login_is_that_of_one_program(
    pki_reader: Served, applications: list[RemoteApplication]
) -> None:
    one, other = applications
    one.call("login", pki_reader.token.pin)
    assert other.call("labels") == ["key:public"]
    assert refusal(other, "generate", "P-256", "mine") == "CKR_USER_NOT_LOGGED_IN"
    assert refusal(other, "destroy", "key") == "CKR_USER_NOT_LOGGED_IN"
    other.call("login", pki_reader.token.pin)
    other.call("logout")
    assert one.call("sign", "key")
    one.call("logout")
    assert refusal(one, "generate", "P-256", "mine") == "CKR_USER_NOT_LOGGED_IN"


def test_the_card_forgets_the_login_of_a_program_that_ends(
    pki_reader: Served, applications: list[RemoteApplication]
) -> None:
    one, other = applications
    watching = pki_reader.there.connect()
    ask = pki.verify(pki.USER).encode()
    one.call("login", pki_reader.token.pin)
    assert watching.transceive(ask) == b"\x90\x00"
    one.process.kill()
    one.process.wait()
    while other.call("labels") and watching.transceive(ask) == b"\x90\x00":
        continue
    assert watching.transceive(ask) == b"\x63\xc3"


def test_one_program_makes_keys_while_another_signs(
    pki_reader: Served, applications: list[RemoteApplication]
) -> None:
    maker, signer = applications
    for one in applications:
        one.call("login", pki_reader.token.pin)
    made = ["key"]
    for label in "abcd":
        maker.send("generate", "P-256", label)
        for known in made:
            assert signer.call("sign", known)
        maker.answer()
        made.append(label)
    for one in applications:
        assert one.call("labels") == [f"{label}:privatepublic" for label in sorted(made)]


class Middleware:
    """pkcs11-tool with one of the modules; every signature is judged by openssl."""

    def __init__(
        self, run: Callable[..., str], pin: str, ident: str, folder: Path, openssl: Run
    ) -> None:
        self._run = run
        self._pin = pin
        self._ident = ident
        self._openssl = openssl
        folder.mkdir()
        self._message, self._signature = folder / "message", folder / "signature"
        self._message.write_bytes(b"one card, two middlewares")
        self._public = folder / "public"
        self._public.write_text("")

    def read_public_key(self) -> None:
        read = ("--read-object", "--type", "pubkey", "--id", self._ident, "-o", self._public)
        self._run("--login", "--pin", self._pin, *read)

    def sign(self) -> bool:
        """Whether it signed; False where the other one's selection ended the login before."""
        how = ("--mechanism", "SHA256-RSA-PKCS", "--id", self._ident)
        files = ("-i", self._message, "-o", self._signature)
        try:
            self._run("--login", "--pin", self._pin, "--sign", *how, *files)
        except AssertionError as error:
            if "CKR_USER_NOT_LOGGED_IN" not in str(error):
                raise
            return False
        judged = ("-verify", self._public, "-signature", self._signature)
        said = self._openssl("dgst", "-sha256", *judged, self._message).stdout
        assert said == "Verified OK\n"
        return True

    def sign_often(self) -> int:
        """How often it signed in the end: as often as it was to."""
        done = 0
        for _ in range(ATTEMPTS):
            done += self.sign()
            if done == SIGNATURES:
                break
        return done


@pytest.fixture(params=["pki", "piv"])
def middlewares(request: pytest.FixtureRequest, tmp_path: Path, openssl: Run) -> list[Middleware]:
    """OpenSC's module and ours on one card with an RSA key."""
    shown: Served = request.getfixturevalue(f"{request.param}_reader")
    ident = "01"
    pin, driver = shown.token.pin, "isoApplet"
    if request.param == "piv":
        pin, driver = piv_cards.PIN.decode(), "PIV-II"
    else:
        login = ("--login", "--pin", pin, "--id", ident, "--label", "shared")
        shown.ours(*login, "--keypairgen", "--key-type", "rsa:2048")
    runs: dict[str, Callable[..., str]] = {
        "ours": shown.ours,
        "openscs": partial(shown.openscs, driver=driver),
    }
    made = [Middleware(run, pin, ident, tmp_path / name, openssl) for name, run in runs.items()]
    for one in made:
        one.read_public_key()
    return made


def test_opensc_and_ours_sign_by_turns(middlewares: list[Middleware]) -> None:
    for _ in range(2):
        assert [one.sign() for one in middlewares] == [True, True]


def test_opensc_and_ours_sign_at_the_same_time(middlewares: list[Middleware]) -> None:
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(Middleware.sign_often, middlewares))
    assert done == [SIGNATURES, SIGNATURES]


def test_a_session_of_ours_outlives_what_opensc_does_meanwhile(
    pki_reader: Served, session: Session
) -> None:
    check_signature(session)
    login = ("--login", "--pin", pki_reader.token.pin, "--id", "77", "--label", "theirs")
    pki_reader.openscs(*login, "--keypairgen", "--key-type", "EC:prime256v1")
    session.logout()
    session.login(ck.CKU_USER, pki_reader.token.pin.encode())
    check_signature(session)
    check_signature(session, "theirs")


class Beside(piv_cards.Client):
    """A client of the PIV application that selects nothing, and so leaves a login as it is."""

    def __init__(self, transport: PcscClient) -> None:
        self.transport = transport
        self._client = CardClient(transport)


def test_a_piv_key_that_others_have_replaced_is_gone(piv_reader: Served) -> None:
    with Cryptoki() as library, library.open_session(SLOT) as session:
        session.login(ck.CKU_USER, piv_cards.PIN)
        key, _ = piv_pair(session)
        session.sign(ck.CKM_ECDSA, key, HASHED)
        other = Beside(piv_reader.there.connect())
        other.prove()
        other.make_key(piv.RETIRED)
        with pytest.raises(CryptokiError, match="CKR_KEY_HANDLE_INVALID"):
            session.sign(ck.CKM_ECDSA, key, HASHED)
        key, public = piv_pair(session)
        made = session.sign(ck.CKM_ECDSA, key, HASHED)
        public_key(session, public).verify(Ecdsa(), HASHED, made)


def piv_pair(session: Session) -> tuple[int, int]:
    """The private and the public key of the slot 82."""
    kinds = (ck.CKO_PRIVATE_KEY, ck.CKO_PUBLIC_KEY)
    private, public = (session.find({ck.CKA_CLASS: kind, ck.CKA_ID: b"\x05"})[0] for kind in kinds)
    return private, public
