"""A power cut at any commit of a write leaves no half object, loses nothing and leaks nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from host_tools.testing.faults import Cut, Moment, PowerCut, PowerCutStore
from pkcs11_module import _constants as ck
from pkcs11_module.types import Attribute, Mechanism
from tests.unit.facade_rig import SO_PIN, USER_PIN, Client, Rig, Value, data_template, template
from tests.unit.facade_samples import certificate
from token_fw.storage.memory import Medium

Step = Callable[[Client, int], None]


@dataclass
class World:
    """What outlives the power: a token's records."""

    medium: Medium

    @classmethod
    def made(cls) -> World:
        """A token with one object of each class on it."""
        medium = Medium()
        client = Rig(PowerCutStore(medium)).initialised()
        session = client.user()
        client.make_ec_pair(session, b"old")
        client("C_CreateObject", session, template(**data_template("old", b"old content")))
        client("C_CreateObject", session, certificate_template(b"old"))
        client("C_CreateObject", session, secret_template(b"old"))
        client("C_CreateObject", session, secret_template(b"open", PRIVATE=False))
        client("C_CreateObject", session, secret_template(b"trusted", PRIVATE=False))
        trust(CLASS=ck.CKO_SECRET_KEY, ID=b"trusted")(client, session)
        return cls(medium)

    def copy(self) -> World:
        return World(Medium(dict(self.medium.records)))

    def powered(self, cut: Cut | None) -> tuple[Client, int]:
        """The token in a reader again, its user logged in, and the cut armed."""
        store = PowerCutStore(self.medium)
        client = Rig.of(store).application()
        session = client.user()
        store.arm(cut)
        return client, session


def certificate_template(ident: bytes) -> tuple[Attribute, ...]:
    return template(
        CLASS=ck.CKO_CERTIFICATE,
        CERTIFICATE_TYPE=ck.CKC_X_509,
        TOKEN=True,
        ID=ident,
        VALUE=certificate(),
    )


def secret_template(ident: bytes, **more: Value) -> tuple[Attribute, ...]:
    """An AES key that may leave the card."""
    values: dict[str, Value] = {"TOKEN": True, "ID": ident, "VALUE": ident.ljust(16)}
    return template(
        CLASS=ck.CKO_SECRET_KEY, KEY_TYPE=ck.CKK_AES, **{**values, "EXTRACTABLE": True, **more}
    )


def make_pair(client: Client, session: int) -> None:
    client.make_ec_pair(session, b"new")


def make_certificate(client: Client, session: int) -> None:
    client("C_CreateObject", session, certificate_template(b"new"))


def make_private_data(client: Client, session: int) -> None:
    values = data_template("new", b"new content", PRIVATE=True)
    client("C_CreateObject", session, template(**values))


def change_data(client: Client, session: int) -> None:
    (handle,) = client.find(session, CLASS=ck.CKO_DATA, LABEL="old")
    client("C_SetAttributeValue", session, handle, template(LABEL="new", VALUE=b"longer than old"))


def make_secret(*, private: bool) -> Step:
    def run(client: Client, session: int) -> None:
        client("C_CreateObject", session, secret_template(b"new", PRIVATE=private))

    return run


def generate_secret(client: Client, session: int) -> None:
    wanted = template(TOKEN=True, ID=b"new", VALUE_LEN=32)
    client("C_GenerateKey", session, Mechanism(ck.CKM_AES_KEY_GEN), wanted)


def copy(**wanted: int | bytes) -> Step:
    """Copy an object of the token on the token."""

    def run(client: Client, session: int) -> None:
        (handle,) = client.find(session, **wanted)
        client("C_CopyObject", session, handle, template(LABEL="new", ID=b"new"))

    return run


def copy_data(client: Client, session: int) -> None:
    (handle,) = client.find(session, CLASS=ck.CKO_DATA, LABEL="old")
    client("C_CopyObject", session, handle, template(LABEL="new"))


def lock_in(client: Client, session: int) -> None:
    (handle,) = client.find(session, CLASS=ck.CKO_SECRET_KEY, ID=b"old")
    client("C_SetAttributeValue", session, handle, template(EXTRACTABLE=False))


def rename_secret(client: Client, session: int) -> None:
    (handle,) = client.find(session, CLASS=ck.CKO_SECRET_KEY, ID=b"open")
    change = template(LABEL="renamed", COPYABLE=False, WRAP_WITH_TRUSTED=True)
    client("C_SetAttributeValue", session, handle, change)


def destroy(**wanted: int | bytes) -> Step:
    def run(client: Client, session: int) -> None:
        (handle,) = client.find(session, **wanted)
        client("C_DestroyObject", session, handle)

    return run


def by_so(step: Step) -> Step:
    """What the SO does between two logins of the user."""

    def run(client: Client, session: int) -> None:
        client("C_Logout", session)
        client("C_Login", session, ck.CKU_SO, SO_PIN)
        step(client, session)
        client("C_Logout", session)
        client("C_Login", session, ck.CKU_USER, USER_PIN)

    return run


def trust(**wanted: int | bytes) -> Step:
    """Have the SO mark an object of the token as trusted."""

    def run(client: Client, session: int) -> None:
        (handle,) = client.find(session, **wanted)
        client("C_SetAttributeValue", session, handle, template(TRUSTED=True))

    return by_so(run)


def list_by_so(client: Client, session: int) -> None:
    values = (*certificate_template(b"by SO"), *template(TRUSTED=True))
    client("C_CreateObject", session, values)


STEPS: dict[str, Step] = {
    "generate a pair": make_pair,
    "generate a secret key": generate_secret,
    "import a certificate": make_certificate,
    "create private data": make_private_data,
    "change a value": change_data,
    "destroy a private key": destroy(CLASS=ck.CKO_PRIVATE_KEY, ID=b"old"),
    "destroy a public key": destroy(CLASS=ck.CKO_PUBLIC_KEY, ID=b"old"),
    "destroy a certificate": destroy(CLASS=ck.CKO_CERTIFICATE, ID=b"old"),
    "import a private secret key": make_secret(private=True),
    "import a public secret key": make_secret(private=False),
    "change a secret key": rename_secret,
    "keep a secret key on the card": lock_in,
    "destroy a private secret key": destroy(CLASS=ck.CKO_SECRET_KEY, ID=b"old"),
    "destroy a public secret key": destroy(CLASS=ck.CKO_SECRET_KEY, ID=b"open"),
    "copy a secret key": copy(CLASS=ck.CKO_SECRET_KEY, ID=b"old"),
    "copy a public key": copy(CLASS=ck.CKO_PUBLIC_KEY, ID=b"old"),
    "copy a certificate": copy(CLASS=ck.CKO_CERTIFICATE, ID=b"old"),
    "copy data": copy_data,
    "trust a certificate": trust(CLASS=ck.CKO_CERTIFICATE, ID=b"old"),
    "trust a public key": trust(CLASS=ck.CKO_PUBLIC_KEY, ID=b"old"),
    "trust a secret key": trust(CLASS=ck.CKO_SECRET_KEY, ID=b"open"),
    "list a trusted certificate": by_so(list_by_so),
    "destroy a trusted key": destroy(CLASS=ck.CKO_SECRET_KEY, ID=b"trusted"),
}


def listing(client: Client, session: int) -> list[tuple[bytes, ...]]:
    """Every object with all that can be read of it."""
    found = []
    for handle in client.find(session):
        (object_class,) = client.get(session, handle, "CLASS")
        names = ["CLASS", "LABEL", "TOKEN"]
        kind = int.from_bytes(object_class, "little")
        names += {
            ck.CKO_DATA: ["VALUE"],
            ck.CKO_CERTIFICATE: ["ID", "TRUSTED", "VALUE", "SUBJECT"],
            ck.CKO_PUBLIC_KEY: ["ID", "EC_POINT", "TRUSTED", "PUBLIC_KEY_INFO"],
            ck.CKO_PRIVATE_KEY: ["ID", "EC_PARAMS", "PUBLIC_KEY_INFO"],
            ck.CKO_SECRET_KEY: [
                "ID",
                "EXTRACTABLE",
                "COPYABLE",
                "WRAP_WITH_TRUSTED",
                "CHECK_VALUE",
                "TRUSTED",
            ],
        }[kind]
        found.append(tuple(client.get(session, handle, *names)))
    return sorted(found)


def without_new_keys(objects: list[tuple[bytes, ...]]) -> list[tuple[bytes, ...]]:
    """The listing without what differs from one generated key to the next."""
    return sorted(entry[:4] if b"new" in entry else entry for entry in objects)


def records(medium: Medium) -> tuple[int, int]:
    """How many keys of the card and files there are, listed or not."""
    kinds = [kind for kind, _ in medium.records]
    return kinds.count("key"), kinds.count("file")


@pytest.mark.parametrize("moment", [Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT])
@pytest.mark.parametrize("name", STEPS)
def test_a_cut_leaves_the_state_before_or_after(name: str, moment: Moment) -> None:
    step = STEPS[name]
    start = World.made()
    client, session = start.copy().powered(None)
    before = without_new_keys(listing(client, session))
    step(client, session)
    after = without_new_keys(listing(client, session))
    for count in range(1, 20):
        world = start.copy()
        client, session = world.powered(Cut(moment, count))
        try:
            step(client, session)
        except PowerCut:
            pass
        else:
            assert count > 1, "no commit was cut"
            return
        client, session = world.powered(None)
        assert without_new_keys(listing(client, session)) in (before, after), count
        check_nothing_leaks(world, client, session)
    pytest.fail("the step has too many commits")


def check_nothing_leaks(world: World, client: Client, session: int) -> None:
    """One write of every kind clears, or takes over, whatever the cut has left."""
    client.make_ec_pair(session, b"again")
    client("C_CreateObject", session, certificate_template(b"again"))
    for private in (False, True):
        client("C_CreateObject", session, secret_template(b"again", PRIVATE=private))
        values = data_template("again", PRIVATE=private)
        client("C_CreateObject", session, template(**values))
    classes = (ck.CKO_PRIVATE_KEY, ck.CKO_SECRET_KEY)
    card_keys = sum(len(client.find(session, CLASS=kind)) for kind in classes)
    assert client.find(session, ID=b"again", TRUSTED=True) == []
    in_entries = len(client.find(session, ID=b"by SO"))
    with_files = len(client.find(session)) - card_keys - in_entries
    assert records(world.medium) == (card_keys, FIXED_FILES + with_files)


FIXED_FILES = 5 + 9
"""EF.DIR, the DF with ODF, TokenInfo and AODF, and nine directories."""
