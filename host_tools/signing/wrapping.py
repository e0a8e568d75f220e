"""Signatures as they come: in DER or BER, in PEM, in bare base64, or in an S/MIME message."""

import binascii
from email import message_from_bytes
from typing import Final

from host_tools.pki.asn1 import blocks
from host_tools.pki.errors import Malformed

_HEAD: Final = 8192
_SEQUENCE: Final = b"\x30"
# RFC 8551 3.2.1, and the names of before.
_TYPES: Final = frozenset(
    (
        "application/pkcs7-mime",
        "application/x-pkcs7-mime",
        "application/pkcs7-signature",
        "application/x-pkcs7-signature",
    )
)


def unwrapped(content: bytes, what: str) -> bytes:
    """The structure (DER or BER) in a file. Raises Malformed, which names ``what``.

    Of an S/MIME message that is its signature alone, if the text is beside it (RFC 8551 3.5.3).
    """
    if content.startswith(_SEQUENCE):
        return content
    if b"-----BEGIN" in content:
        return blocks(content, what)[0][1]
    return _in_base64(content) or _in_message(content, what) or content


def _in_base64(content: bytes) -> bytes:
    """What bare base64 says, if that is a SEQUENCE; a mark of the byte order may precede it."""
    try:
        found = binascii.a2b_base64(
            b"".join(content.removeprefix(b"\xef\xbb\xbf").split()), strict_mode=True
        )
    except binascii.Error:
        return b""
    return found if found.startswith(_SEQUENCE) else b""


def _in_message(content: bytes, what: str) -> bytes:
    if b"content-type:" not in content[:_HEAD].lower():
        return b""
    try:
        parts = list(message_from_bytes(content).walk())
    except RecursionError:
        parts = []
    for part in parts:
        payload = part.get_payload(decode=True)
        if part.get_content_type() in _TYPES and isinstance(payload, bytes):
            return payload
    raise Malformed(f"This is a message (MIME), and there is no {what} in it.")
