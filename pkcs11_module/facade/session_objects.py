"""Session objects: they live in the middleware, and end with the session that made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pkcs11_module import _constants as ck
from pkcs11_module.facade.attributes import FALSE, TRUE, number, untold
from token_fw.crypto import KeySpec, PrivateKey, PublicKey, SecretKey

if TYPE_CHECKING:
    from pkcs11_module.facade.sessions import Session


class SessionObject:
    """An object with all its attributes; `key` is the key itself where it is one.

    `key_type` is CKA_KEY_TYPE, 0 for what is no key.
    """

    __slots__ = ("alive", "attributes", "key", "key_type", "object_class", "owner")

    token: Final = False

    def __init__(
        self,
        owner: Session,
        attributes: dict[int, bytes],
        key: PrivateKey | PublicKey | SecretKey | None = None,
    ) -> None:
        self.owner = owner
        self.attributes = attributes
        self.key = key
        self.object_class = number(attributes[ck.CKA_CLASS])
        self.key_type = number(attributes.get(ck.CKA_KEY_TYPE, FALSE))
        self.alive = True

    @property
    def private(self) -> bool:
        return self.attributes[ck.CKA_PRIVATE] == TRUE

    @property
    def spec(self) -> KeySpec | None:
        """The kind of key, None for what is none."""
        return self.key.spec if self.key is not None else None

    @property
    def secrets(self) -> frozenset[int]:
        """Attributes that exist but are not told."""
        return untold(self.attributes)
