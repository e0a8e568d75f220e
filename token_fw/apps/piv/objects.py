"""The data objects (SP 800-73-4 part 1, 3 and table 3): how they are kept, who may read them."""

from __future__ import annotations

from apdu import tlv
from apdu.piv import READ_WITH_PIN
from apdu.spec import Access
from token_fw.errors import FileNotFound, IncorrectData, NotEnoughMemory
from token_fw.transaction import Transaction

MAX_OBJECT = 16384
MAX_OBJECTS = 128
ATTESTATION_CERTIFICATE = bytes.fromhex("5FFF01")
_KIND = "piv-object"
_DISCOVERY = b"\x7e"
_FAMILY = 0x5F


def _discovery(aid: bytes) -> bytes:
    """The discovery object: the AID, and that the PIN of this application opens its keys."""
    policy = tlv.encode(0x5F2F, bytes((0x40, 0x00)))
    return tlv.encode(0x7E, tlv.encode(0x4F, aid) + policy)


def check_tag(tag: bytes) -> bytes:
    """A tag of a data object that may be written, 5F and two bytes; raises IncorrectData."""
    if len(tag) != 3 or tag[0] != _FAMILY:
        raise IncorrectData("no data object has such a tag")
    return tag


class DataObjects:
    """The data objects of one token by tag."""

    def __init__(self, transaction: Transaction, aid: bytes) -> None:
        self._transaction = transaction
        self._discovery = _discovery(aid)

    def access(self, tag: bytes) -> Access:
        """Who may read the object."""
        return Access.USER if tag in READ_WITH_PIN else Access.ALWAYS

    def read(self, tag: bytes) -> bytes:
        """The object with its outermost tag; raises FileNotFound."""
        if tag == _DISCOVERY:
            return self._discovery
        content = self.content(tag)
        if not content:
            raise FileNotFound("the data object was never written, or it was deleted")
        return tlv.encode(0x53, content)

    def content(self, tag: bytes) -> bytes:
        """What is in the object; empty where there is none."""
        return self._transaction.get(_KIND, tag) or b""

    def write(self, tag: bytes, content: bytes) -> None:
        """Write the content, or delete the object where it is empty; raises NotEnoughMemory."""
        if not content:
            self._transaction.delete(_KIND, tag)
            return
        known = self._transaction.idents(_KIND)
        if len(content) > MAX_OBJECT or (len(known) >= MAX_OBJECTS and tag not in known):
            raise NotEnoughMemory("the data object is too large, or there are too many")
        self._transaction.put(_KIND, tag, content)

    def clear(self) -> None:
        """Delete every object but the certificate of the attestation key."""
        for tag in self._transaction.idents(_KIND):
            if tag != ATTESTATION_CERTIFICATE:
                self._transaction.delete(_KIND, tag)
