"""A pinUvAuthToken in makeCredential and getAssertion, and the secrets of hmac-secret."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from typing import Any

import pytest

from apdu.ctap import CtapCommand, Permission, Status
from tests.fido_cards import (
    AT,
    HASH,
    OTHER_FINGER,
    RP,
    UP,
    USER_FINGER,
    UV,
    Desk,
    Refused,
    descriptors,
    ident_of,
    with_sensor,
)
from tests.fido_platform import Platform
from tests.piv_cards import Finger
from token_fw.apps.fido2 import cbor, cose
from token_fw.apps.fido2.pin_token import time_limit
from token_fw.apps.fido2.requests import MAX_MSG_SIZE
from token_fw.state import Attestation

MC, GA = Permission.MC, Permission.GA
PARAM, PROTOCOL = 8, 9
GET_PARAM, GET_PROTOCOL = 6, 7
ABSENT = Finger(touches=False)
SALT, SECOND_SALT = bytes(range(32)), bytes(range(32, 64))

pytestmark = pytest.mark.usefixtures("cheap_hash")


@dataclass
class Owner:
    """Who knows the PIN of the token on a desk, with a platform of one protocol."""

    desk: Desk
    version: int = 2

    def __post_init__(self) -> None:
        self.platform = Platform(self.desk, self.version)
        self.platform.set_pin()

    def param(
        self, permission: Permission, rp_id: str | None = RP, token: bytes | None = None
    ) -> bytes:
        """The client data's hash, signed by a new token."""
        return self.platform.sign(token or self.platform.token(permission, rp_id), HASH)

    def make(self, param: bytes | None = None, **arguments: Any) -> Any:
        proof = {PARAM: param or self.param(MC), PROTOCOL: self.version}
        return self.desk.make(more=proof | arguments.pop("more", {}), **arguments)

    def get(self, *allowed: bytes, param: bytes | None = None, **arguments: Any) -> Any:
        proof = {GET_PARAM: param or self.param(GA), GET_PROTOCOL: self.version}
        return self.desk.get(*allowed, more=proof | arguments.pop("more", {}), **arguments)

    def salts(self, salts: bytes) -> tuple[dict[int, Any], Any]:
        """The input of hmac-secret, and the secret that was agreed on for it."""
        agreed = self.platform.agree()
        encrypted = agreed.encrypt(salts)
        members = {1: agreed.key, 2: encrypted, 3: agreed.sign(encrypted), 4: self.version}
        return members, agreed

    def output(self, agreed: Any, answer: Any, extension: str = "hmac-secret") -> bytes:
        """What the salts gave, for who agreed on a secret for them."""
        output = answer.auth_data.extensions[extension]
        return bytes(self.platform.protocol.decrypt(agreed.secret, output))


@pytest.fixture(params=[1, 2], ids=["protocol 1", "protocol 2"])
def owner(request: pytest.FixtureRequest) -> Owner:
    return Owner(Desk(), request.param)


def refusal(work: Any, *arguments: Any, **fields: Any) -> Status:
    with pytest.raises(Refused) as caught:
        work(*arguments, **fields)
    return caught.value.status


# The token


def test_the_pin_verifies_the_user(owner: Owner) -> None:
    made = owner.make(rk=True)
    assert made.auth_data.flags == UP | UV | AT
    assert owner.get().auth_data.flags == UP | UV
    assert owner.get(up=False).auth_data.flags == UV


def test_a_wrong_param_is_refused(owner: Owner) -> None:
    ident = ident_of(owner.desk.make())
    wrong = owner.param(MC)[::-1]
    assert refusal(owner.make, wrong) is Status.CTAP2_ERR_PIN_AUTH_INVALID
    assert refusal(owner.get, ident, param=wrong) is Status.CTAP2_ERR_PIN_AUTH_INVALID
    assert owner.platform.tries() == 8


def test_a_token_of_the_other_permission_is_refused(owner: Owner) -> None:
    ident = ident_of(owner.desk.make())
    assert refusal(owner.make, owner.param(GA)) is Status.CTAP2_ERR_PIN_AUTH_INVALID
    assert refusal(owner.get, ident, param=owner.param(MC)) is Status.CTAP2_ERR_PIN_AUTH_INVALID


def test_a_token_for_another_relying_party_is_refused(owner: Owner) -> None:
    elsewhere = owner.param(MC, "example.com")
    assert refusal(owner.make, elsewhere) is Status.CTAP2_ERR_PIN_AUTH_INVALID


def test_a_token_without_a_relying_party_is_bound_by_its_first_use(owner: Owner) -> None:
    ident = ident_of(owner.desk.make(rp="example.com"))
    owner.make(rk=True)
    param = owner.platform.sign(owner.platform.pin_token(), HASH)
    assert owner.get(param=param, up=False).auth_data.flags == UV
    elsewhere = refusal(owner.get, ident, param=param, up=False, rp="example.com")
    assert elsewhere is Status.CTAP2_ERR_PIN_AUTH_INVALID


def test_a_token_serves_once_with_a_user_who_is_present(owner: Owner) -> None:
    param = owner.param(MC)
    owner.make(param)
    assert refusal(owner.make, param) is Status.CTAP2_ERR_PIN_AUTH_INVALID
    ident, param = ident_of(owner.make()), owner.param(GA)
    owner.get(ident, param=param)
    assert refusal(owner.get, ident, param=param) is Status.CTAP2_ERR_PIN_AUTH_INVALID


def test_a_token_by_a_finger_is_a_touch_for_30_seconds() -> None:
    owner = Owner(with_sensor())
    owner.desk.finger = ABSENT
    owner.desk.power()
    owner.desk.present(USER_FINGER)
    param = owner.platform.sign(owner.platform.uv_token(MC, RP), HASH)
    assert owner.make(param).auth_data.flags == UP | UV | AT
    owner.desk.present(USER_FINGER)
    param = owner.platform.sign(owner.platform.uv_token(MC, RP), HASH)
    owner.desk.now += time_limit(owner.desk.channel.transport)
    assert refusal(owner.make, param) is Status.CTAP2_ERR_PIN_AUTH_INVALID


def test_an_excluded_credential_leaves_the_token_unspent(owner: Owner) -> None:
    known = ident_of(owner.desk.make())
    param = owner.param(MC)
    excluded = refusal(owner.make, param, more={5: descriptors(known)})
    assert excluded is Status.CTAP2_ERR_CREDENTIAL_EXCLUDED
    owner.make(param)


@pytest.mark.parametrize(
    ("command", "param", "protocol"),
    [
        (CtapCommand.MAKE_CREDENTIAL, PARAM, PROTOCOL),
        (CtapCommand.GET_ASSERTION, GET_PARAM, GET_PROTOCOL),
    ],
)
def test_a_param_comes_with_a_protocol_that_is_known(
    command: CtapCommand, param: int, protocol: int
) -> None:
    owner = Owner(Desk())
    ask = owner.desk.make if command is CtapCommand.MAKE_CREDENTIAL else owner.desk.get
    missing = refusal(ask, more={param: bytes(32)})
    assert missing is Status.CTAP2_ERR_MISSING_PARAMETER
    unknown = refusal(ask, more={param: bytes(32), protocol: 3})
    assert unknown is Status.CTAP1_ERR_INVALID_PARAMETER


@pytest.mark.parametrize("what", ["make", "get"])
def test_an_empty_param_asks_for_a_touch_and_whether_there_is_a_pin(what: str) -> None:
    empty = {"make": {PARAM: b""}, "get": {GET_PARAM: b""}}[what]
    desk = Desk()
    assert refusal(getattr(desk, what), more=empty) is Status.CTAP2_ERR_PIN_NOT_SET
    Owner(desk)
    assert refusal(getattr(desk, what), more=empty) is Status.CTAP2_ERR_PIN_INVALID
    desk.finger = ABSENT
    desk.power()
    assert refusal(getattr(desk, what), more=empty) is Status.CTAP2_ERR_OPERATION_DENIED


def test_without_a_pin_no_param_is_right() -> None:
    proof = {PARAM: bytes(32), PROTOCOL: 2}
    assert refusal(Desk().make, more=proof) is Status.CTAP2_ERR_PIN_AUTH_INVALID


def test_a_param_makes_the_option_uv_needless() -> None:
    owner = Owner(Desk())
    assert owner.make(uv=True).auth_data.flags == UP | UV | AT


def test_with_a_pin_a_discoverable_credential_needs_it() -> None:
    owner = Owner(Desk())
    assert refusal(owner.desk.make, rk=True) is Status.CTAP2_ERR_PUAT_REQUIRED
    assert owner.desk.make().auth_data.flags == UP | AT


def test_a_wrong_finger_is_asked_for_the_pin_where_there_is_one() -> None:
    owner = Owner(with_sensor())
    owner.desk.present(OTHER_FINGER)
    assert refusal(owner.desk.make, uv=True) is Status.CTAP2_ERR_PUAT_REQUIRED


# alwaysUv


def test_who_is_always_verified_needs_a_token_or_a_finger() -> None:
    owner = Owner(Desk())
    ident = ident_of(owner.desk.make())
    core = owner.desk.card.authenticator.core
    core.settings = replace(core.settings, always_uv=True)
    core.transaction.commit()
    assert refusal(owner.desk.make) is Status.CTAP2_ERR_PUAT_REQUIRED
    assert refusal(owner.desk.get, ident) is Status.CTAP2_ERR_PUAT_REQUIRED
    assert owner.desk.get(ident, up=False).auth_data.flags == 0
    assert owner.make().auth_data.flags & UV


def test_who_is_always_verified_needs_a_pin_first() -> None:
    desk = Desk()
    core = desk.card.authenticator.core
    core.settings = replace(core.settings, always_uv=True)
    core.transaction.commit()
    assert refusal(desk.make) is Status.CTAP2_ERR_PUAT_REQUIRED


# hmac-secret


def test_salts_give_secrets_that_are_the_credentials_own(owner: Owner) -> None:
    asked = {6: {"hmac-secret": True}}
    first, second = owner.desk.make(more=asked), owner.desk.make(more=asked)
    assert first.auth_data.extensions == {"hmac-secret": True}
    one = secret(owner, ident_of(first), SALT)
    assert len(one) == 32
    assert secret(owner, ident_of(first), SALT) == one
    assert secret(owner, ident_of(second), SALT) != one
    assert secret(owner, ident_of(first), SALT + SECOND_SALT)[:32] == one
    owner.desk.power()
    assert secret(owner, ident_of(first), SECOND_SALT) not in {one, SALT}


def secret(owner: Owner, ident: bytes, salts: bytes, *, verified: bool = False) -> bytes:
    """What the salts give, with and without user verification."""
    members, agreed = owner.salts(salts)
    get = owner.get if verified else owner.desk.get
    return owner.output(agreed, get(ident, more={4: {"hmac-secret": members}}))


def test_the_verified_user_has_other_secrets(owner: Owner) -> None:
    ident = ident_of(owner.desk.make(more={6: {"hmac-secret": True}}))
    assert secret(owner, ident, SALT) != secret(owner, ident, SALT, verified=True)


def test_a_secret_is_the_hmac_of_the_salt_under_cred_random(owner: Owner) -> None:
    made = owner.desk.make(more={6: {"hmac-secret": True}})
    credentials = owner.desk.card.authenticator.core.credentials
    known = credentials.find(hashlib.sha256(RP.encode()).digest(), ident_of(made))
    assert known is not None
    cred_random = credentials.cred_random(known, uv=False)
    assert secret(owner, known.id, SALT) == hmac.digest(cred_random, SALT, "sha256")


def test_a_new_credential_gives_its_secrets_at_once(owner: Owner) -> None:
    members, agreed = owner.salts(SALT)
    asked = {"hmac-secret": True, "hmac-secret-mc": members}
    made = owner.make(more={6: asked})
    assert owner.output(agreed, made, "hmac-secret-mc") == secret(
        owner, ident_of(made), SALT, verified=True
    )


def test_a_credential_made_without_the_extension_has_no_secrets(owner: Owner) -> None:
    ident = ident_of(owner.desk.make())
    members, _ = owner.salts(SALT)
    got = owner.desk.get(ident, more={4: {"hmac-secret": members}})
    assert got.auth_data.extensions is None


@pytest.mark.parametrize("salts", [b"", bytes(16), bytes(48), bytes(96)], ids=len)
def test_one_or_two_salts_have_32_bytes_each(owner: Owner, salts: bytes) -> None:
    ident = ident_of(owner.desk.make(more={6: {"hmac-secret": True}}))
    members, _ = owner.salts(salts)
    status = refusal(owner.desk.get, ident, more={4: {"hmac-secret": members}})
    assert status is Status.CTAP1_ERR_INVALID_LENGTH


def test_salts_that_were_changed_are_refused(owner: Owner) -> None:
    ident = ident_of(owner.desk.make(more={6: {"hmac-secret": True}}))
    members, _ = owner.salts(SALT)
    changed = members | {3: bytes(len(members[3]))}
    status = refusal(owner.desk.get, ident, more={4: {"hmac-secret": changed}})
    assert status is Status.CTAP2_ERR_PIN_AUTH_INVALID


def test_a_key_off_the_curve_is_refused(owner: Owner) -> None:
    ident = ident_of(owner.desk.make(more={6: {"hmac-secret": True}}))
    members, _ = owner.salts(SALT)
    point = members | {1: members[1] | {-3: bytes(32)}}
    status = refusal(owner.desk.get, ident, more={4: {"hmac-secret": point}})
    assert status is Status.CTAP1_ERR_INVALID_PARAMETER


def test_secrets_need_a_user_who_is_present(owner: Owner) -> None:
    ident = ident_of(owner.desk.make(more={6: {"hmac-secret": True}}))
    members, _ = owner.salts(SALT)
    status = refusal(owner.desk.get, ident, more={4: {"hmac-secret": members}}, up=False)
    assert status is Status.CTAP2_ERR_UNSUPPORTED_OPTION


def test_the_next_assertion_has_the_secrets_of_its_own_credential(owner: Owner) -> None:
    idents = [
        ident_of(owner.make(user=user, rk=True, more={6: {"hmac-secret": True}}))
        for user in (b"first", b"second")
    ]
    members, agreed = owner.salts(SALT)
    got = [owner.desk.get(more={4: {"hmac-secret": members}}), owner.desk.next()]
    outputs = [owner.output(agreed, each) for each in got]
    assert [each.credential["id"] for each in got] == idents[::-1]
    assert outputs == [secret(owner, ident, SALT) for ident in reversed(idents)]


@pytest.mark.parametrize("attestation", Attestation)
@pytest.mark.parametrize("alg", cose.ALGORITHMS)
def test_the_longest_answers_fit_into_a_message(alg: int, attestation: Attestation) -> None:
    owner = Owner(Desk(attestation=attestation))
    members, _ = owner.salts(SALT + SECOND_SALT)
    asked = {
        "credBlob": bytes(64),
        "credProtect": 1,
        "hmac-secret": True,
        "hmac-secret-mc": members,
        "largeBlobKey": True,
    }
    made = owner.make(alg=alg, rk=True, user=bytes(64), more={6: asked})
    members, _ = owner.salts(SALT + SECOND_SALT)
    wanted = {"credBlob": True, "hmac-secret": members, "largeBlobKey": True}
    got = owner.get(more={4: wanted})
    assert max(len(cbor.encode(dict(each))) for each in (made, got)) < MAX_MSG_SIZE


def test_secrets_at_once_need_the_extension_itself(owner: Owner) -> None:
    members, _ = owner.salts(SALT)
    status = refusal(owner.desk.make, more={6: {"hmac-secret-mc": members}})
    assert status is Status.CTAP2_ERR_MISSING_PARAMETER


# minPinLength and pinComplexityPolicy


def test_the_shortest_pin_is_told_to_relying_parties_of_the_list(owner: Owner) -> None:
    core = owner.desk.card.authenticator.core
    core.settings = replace(core.settings, min_pin_length=6, min_pin_length_rp_ids=(RP,))
    core.transaction.commit()
    asked = {6: {"minPinLength": True}}
    assert owner.desk.make(more=asked).auth_data.extensions == {"minPinLength": 6}
    assert owner.desk.make(rp="example.com", more=asked).auth_data.extensions is None


@pytest.mark.parametrize("policy", [False, True])
def test_the_policy_of_pins_is_told_to_relying_parties_of_the_list(
    owner: Owner, policy: bool
) -> None:
    core = owner.desk.card.authenticator.core
    core.settings = replace(
        core.settings, pin_complexity_policy=policy, min_pin_length_rp_ids=(RP,)
    )
    core.transaction.commit()
    asked = {6: {"pinComplexityPolicy": True}}
    assert owner.desk.make(more=asked).auth_data.extensions == {"pinComplexityPolicy": policy}
    unasked = {6: {"pinComplexityPolicy": False}}
    assert owner.desk.make(more=unasked).auth_data.extensions is None
    assert owner.desk.make(rp="example.com", more=asked).auth_data.extensions is None
