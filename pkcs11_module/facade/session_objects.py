"""Session objects: they live in the middleware, and end with the session that made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pkcs11_module import _constants as ck
from pkcs11_module.facade.attributes import FALSE, TRUE, number, secrets
from token_fw.crypto import KeySpec, PrivateKey, PublicKey

if TYPE_CHECKING:
    from pkcs11_module.facade.sessions import Session


class SessionObject:
    """An object with all its attributes; `key` is the key itself where it is one."""

    __slots__ = ("alive", "attributes", "key", "owner")

    token: Final = False

    def __init__(
        self,
        owner: Session,
        attributes: dict[int, bytes],
        key: PrivateKey | PublicKey | None = None,
    ) -> None:
        self.owner = owner
        self.attributes = attributes
        self.key = key
        self.alive = True

    @property
    def private(self) -> bool:
        return self.attributes[ck.CKA_PRIVATE] == TRUE

    @property
    def object_class(self) -> int:
        return number(self.attributes[ck.CKA_CLASS])

    @property
    def key_type(self) -> int:
        """CKA_KEY_TYPE, 0 for what is no key."""
        return number(self.attributes.get(ck.CKA_KEY_TYPE, FALSE))

    @property
    def spec(self) -> KeySpec | None:
        """The kind of key, None for what is none."""
        return self.key.spec if self.key is not None else None

    @property
    def secrets(self) -> frozenset[int]:
        """Attributes that exist but are not told."""
        attributes = self.attributes
        hidden = attributes.get(ck.CKA_SENSITIVE) == TRUE
        hidden = hidden or attributes.get(ck.CKA_EXTRACTABLE) == FALSE
        return secrets(self.object_class, self.key_type) if hidden else frozenset()
