"""The commands of the PKI application by name, and what is in its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA256

from apdu import tlv
from apdu.codec import Command
from apdu.model import APPLICATIONS
from apdu.spec import ApplicationSpec

PKI = APPLICATIONS["pki"]
USER, SO = 1, 2
ALL = 65536
P256_OID = bytes.fromhex("2A8648CE3D030107")
CURVES = {
    "P-256": P256_OID,
    "P-384": bytes.fromhex("2B81040022"),
    "P-521": bytes.fromhex("2B81040023"),
}
GOST_SETS = {
    "CryptoPro-A": bytes.fromhex("2A850302022301"),
    "tc26-256-A": bytes.fromhex("2A85030701020101 01"),
    "tc26-512-A": bytes.fromhex("2A85030701020102 01"),
}
"""Object identifiers of curves and of parameter sets of GOST, without tag and length."""
_CURVE_OF_POINT: Mapping[int, ec.EllipticCurve] = {
    65: ec.SECP256R1(),
    97: ec.SECP384R1(),
    133: ec.SECP521R1(),
}
RSA_2048, RSA_3072, RSA_4096, EC, ED25519, X25519, ED448, X448 = (
    0xF3,
    0xF4,
    0xF5,
    0xEC,
    0xED,
    0xEE,
    0xEA,
    0xEB,
)
ML_DSA, ML_KEM = {44: 0xE1, 65: 0xE2, 87: 0xE3}, {768: 0xE5, 1024: 0xE6}
GOST_256, GOST_512 = 0xE8, 0xE9
AES, DES3, GENERIC = 0xF8, 0xF9, 0xFA
KUZNYECHIK, MAGMA, KUZNYECHIK_TWIN, MAGMA_TWIN = 0xFB, 0xFC, 0xFD, 0xFE
RSA_RAW, PKCS1, PSS, OAEP, ECDSA, EDDSA = 0x10, 0x11, 0x12, 0x13, 0x20, 0x22
ML_DSA_SIGN, GOST_SIGN, ECDH, ML_KEM_DECAPSULATE, VKO = 0x23, 0x24, 0x31, 0x32, 0x33
ECB, CBC, CBC_PADDED, CTR, GCM, WRAP, WRAP_PADDED = 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47
CTR_ACPKM, MGM, KEXP15, HMAC, CMAC = 0x48, 0x49, 0x4A, 0x51, 0x52
CHANGE_COUNTER, KEY_LIST, CARD_INFORMATION = 0x02, 0x03, 0x04
OPERATIONAL = b"\x05"
GENERATE, CHECKSUM, SIGN, DECIPHER = 0x00, 0xB4, 0xB6, 0xB8
ALWAYS_AUTHENTICATE, EXPORT = 0x01, 0x02
FREE, BY_USER, BY_SO, BY_EITHER, NEVER = 0x00, 0x90, 0x91, 0x92, 0xFF


def select_application(application: ApplicationSpec = PKI) -> Command:
    """SELECT by the application's name (ISO/IEC 7816-4:2013, 11.1.1)."""
    return Command(0x00, 0xA4, 0x04, 0x00, application.aid)


def select(path: bytes, *, answer: bool = False) -> Command:
    """SELECT by path from the master file, or the master file itself."""
    p2, ne = (0x04, 256) if answer else (0x0C, 0)
    if path in {b"", b"\x3f\x00"}:
        return Command(0x00, 0xA4, 0x00, p2, b"\x3f\x00", ne)
    return Command(0x00, 0xA4, 0x08, p2, path.removeprefix(b"\x3f\x00"), ne)


def get_data(what: int) -> Command:
    """GET DATA 01 `what`: 01 version, 02 change counter, 03 keys, 04 card information."""
    return Command(0x00, 0xCA, 0x01, what, b"", ALL)


def verify(ref: int, pin: bytes = b"") -> Command:
    """VERIFY a PIN (ISO/IEC 7816-4:2013, 11.5.6); without one, ask for its state."""
    return Command(0x00, 0x20, 0x00, ref, pin)


def verify_on_token(ref: int) -> Command:
    """VERIFY a PIN that its owner enters on the token."""
    return Command(0x80, 0x20, 0x00, ref)


def log_out(ref: int) -> Command:
    """VERIFY with P1 FF: the PIN is no longer verified."""
    return Command(0x00, 0x20, 0xFF, ref)


def change(ref: int, old: bytes, new: bytes) -> Command:
    """CHANGE REFERENCE DATA (ISO/IEC 7816-4:2013, 11.5.7), PINs of any length."""
    return Command(0x00, 0x25, 0x00, ref, tlv.encode(0x80, old) + tlv.encode(0x81, new))


def padded(*pins: bytes) -> bytes:
    """PINs as the even instructions take them: 16 bytes each, or 64, filled with 00."""
    size = 16 if max(map(len, pins)) <= 16 else 64
    return b"".join(pin.ljust(size, b"\x00") for pin in pins)


def change_padded(ref: int, old: bytes, new: bytes) -> Command:
    """CHANGE REFERENCE DATA of two padded PINs (ISO/IEC 7816-4:2013, 11.5.7)."""
    return Command(0x00, 0x24, 0x00, ref, padded(old, new))


def set_pin(ref: int, new: bytes) -> Command:
    """CHANGE REFERENCE DATA that sets a PIN for the first time."""
    return Command(0x00, 0x24, 0x01, ref, new)


def unblock_padded(puk: bytes, new: bytes) -> Command:
    """RESET RETRY COUNTER with the SO PIN, both padded (ISO/IEC 7816-4:2013, 11.5.10)."""
    return Command(0x00, 0x2C, 0x00, USER, padded(puk, new))


def unblock(puk: bytes, new: bytes) -> Command:
    """RESET RETRY COUNTER with the SO PIN (ISO/IEC 7816-4:2013, 11.5.10)."""
    return Command(0x00, 0x2D, 0x00, USER, tlv.encode(0x80, puk) + tlv.encode(0x81, new))


def reset_by_so(new: bytes) -> Command:
    """RESET RETRY COUNTER while the SO PIN is verified."""
    return Command(0x00, 0x2C, 0x02, USER, new)


def initialize(so_pin: bytes, files: Sequence[tuple[bytes, bytes, bytes]] = ()) -> Command:
    """`files` are paths from below the master file, control parameters and contents."""
    data = tlv.encode(0x81, so_pin)
    for path, parameters, content in files:
        item = parameters + tlv.encode(0x81, path)
        data += tlv.encode(0xE3, item + (tlv.encode(0x53, content) if content else b""))
    return Command(0x80, 0xFA, 0x00, 0x00, data)


def fcp(fid: bytes, size: int = 0, conditions: bytes = bytes(7)) -> bytes:
    """The control parameters of a file that anybody may use, unless `conditions` say else."""
    inner = tlv.encode(0x82, b"\x01") + tlv.encode(0x83, fid)
    inner += tlv.encode(0x80, size.to_bytes(4, "big"))
    return tlv.encode(0x62, inner + tlv.encode(0x86, b"\xff" + conditions))


def df_fcp(fid: bytes, name: bytes = b"", conditions: bytes = bytes(7)) -> bytes:
    """The control parameters of a directory."""
    inner = tlv.encode(0x82, b"\x38") + tlv.encode(0x83, fid)
    if name:
        inner += tlv.encode(0x84, name)
    return tlv.encode(0x62, inner + tlv.encode(0x86, b"\xff" + conditions))


def create(parameters: bytes) -> Command:
    """CREATE FILE (ISO/IEC 7816-9:2004, 6.1)."""
    return Command(0x00, 0xE0, 0x00, 0x00, parameters)


def delete(fid: bytes = b"") -> Command:
    """DELETE FILE (ISO/IEC 7816-9:2004, 6.2); without `fid` the current one."""
    return Command(0x00, 0xE4, 0x00, 0x00, fid)


def read(offset: int, fid: bytes = b"\0\0", ne: int = ALL) -> Command:
    """READ BINARY with odd INS (ISO/IEC 7816-4:2013, 11.2.3)."""
    return Command(0x00, 0xB1, fid[0], fid[1], tlv.encode(0x54, offset.to_bytes(3, "big")), ne)


def read_short(offset: int) -> Command:
    """READ BINARY of the current file (ISO/IEC 7816-4:2013, 11.2.3), up to offset 7FFF."""
    return Command(0x00, 0xB0, offset >> 8, offset & 0xFF, b"", 256)


def update_short(offset: int, data: bytes) -> Command:
    """UPDATE BINARY of the current file, likewise (ISO/IEC 7816-4:2013, 11.2.5)."""
    return Command(0x00, 0xD6, offset >> 8, offset & 0xFF, data)


def update(
    offset: int, data: bytes | None, size: int | None = None, fid: bytes = b"\0\0"
) -> Command:
    """UPDATE BINARY with odd INS; `size` is the file's size afterwards."""
    body = tlv.encode(0x54, offset.to_bytes(3, "big"))
    if data is not None:
        body += tlv.encode(0x53, data)
    if size is not None:
        body += tlv.encode(0xC0, size.to_bytes(3, "big"))
    return Command(0x00, 0xD7, fid[0], fid[1], body)


def mse(template: int, algorithm: int, reference: int, extra: bytes = b"") -> Command:
    """MSE SET of a key, 2 bytes, and an algorithm (ISO/IEC 7816-4:2013, 11.5.11)."""
    data = tlv.encode(0x80, bytes((algorithm,))) + tlv.encode(0x84, reference.to_bytes(2, "big"))
    return Command(0x00, 0x22, 0x41, template, data + extra)


def attributes(usage: int, policy: int = 0) -> bytes:
    """What a key may be used for, and its policy, as data objects for its generation."""
    return tlv.encode(0xE2, tlv.encode(0x80, bytes((usage,))) + tlv.encode(0x81, bytes((policy,))))


def generate(data: bytes = b"") -> Command:
    """GENERATE ASYMMETRIC KEY PAIR (ISO/IEC 7816-8:2004, 5.1)."""
    return Command(0x00, 0x46, 0x00, 0x00, data, ALL)


def p256() -> bytes:
    """The curve P-256 by its object identifier."""
    return curve("P-256")


def curve(name: str) -> bytes:
    """A curve, or a parameter set of GOST, by its object identifier."""
    return tlv.encode(0x06, (CURVES | GOST_SETS)[name])


def explicit_p256(cofactor: bytes = b"\x01") -> bytes:
    """The curve P-256 by its parameters (SP 800-186 3.2.1.3), as OpenSC sends it."""
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b"
    x = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    y = "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
    objects = {
        0x81: p.to_bytes(32, "big"),
        0x82: (p - 3).to_bytes(32, "big"),
        0x83: bytes.fromhex(b),
        0x84: bytes.fromhex("04" + x + y),
        0x85: bytes.fromhex(order),
        0x87: cofactor,
    }
    return b"".join(tlv.encode(tag, value) for tag, value in objects.items())


def public_key() -> Command:
    """Read the public part of the key that MSE SET chose."""
    return Command(0x00, 0x46, 0x01, 0x00, b"", ALL)


def put_key(template: bytes) -> Command:
    """PUT DATA of a private or secret key (ISO/IEC 7816-8:2004, C.2)."""
    return Command(0x00, 0xDB, 0x3F, 0xFF, template)


def rsa_template(key: rsa.RSAPrivateKey) -> bytes:
    """An RSA key for PUT DATA: p, q, qInv, dP, dQ."""
    numbers = key.private_numbers()
    parts = (numbers.p, numbers.q, numbers.iqmp, numbers.dmp1, numbers.dmq1)
    inner = b"".join(
        tlv.encode(tag, number.to_bytes((number.bit_length() + 7) // 8, "big"))
        for tag, number in enumerate(parts, start=0x92)
    )
    return tlv.encode(0x7F48, inner)


def put_value(value: bytes, extra: bytes = b"", curve: bytes = b"") -> Command:
    """PUT DATA of a key that is one value: a number on a `curve`, a seed, a secret key."""
    return put_key(tlv.encode(0xE0, curve + tlv.encode(0x88, value)) + extra)


def generate_secret(length: int, extra: bytes = b"") -> Command:
    """GENERATE SECRET KEY of `length` bytes."""
    data = tlv.encode(0x80, length.to_bytes(2, "big")) + extra
    return Command(0x80, 0x46, 0x00, 0x00, data, 256)


def get_secret(reference: int) -> Command:
    """GET SECRET KEY, where its policy lets it out."""
    return Command(0x80, 0xCA, reference >> 8, reference & 0xFF, b"", ALL)


def delete_key(reference: int) -> Command:
    """DELETE KEY."""
    return Command(0x80, 0xE4, reference >> 8, reference & 0xFF)


def sign(data: bytes) -> Command:
    """PSO COMPUTE DIGITAL SIGNATURE (ISO/IEC 7816-8:2004, 5.4)."""
    return Command(0x00, 0x2A, 0x9E, 0x9A, data, ALL)


def verify_signature(data: bytes, signature: bytes) -> Command:
    """PSO VERIFY DIGITAL SIGNATURE (ISO/IEC 7816-8:2004, 5.7)."""
    objects = tlv.encode(0x9A, data) + tlv.encode(0x9E, signature)
    return Command(0x00, 0x2A, 0x00, 0xA8, objects)


def encipher(data: bytes) -> Command:
    """PSO ENCIPHER (ISO/IEC 7816-8:2004, 5.9)."""
    return Command(0x00, 0x2A, 0x86, 0x80, data, ALL)


def decipher(cryptogram: bytes) -> Command:
    """PSO DECIPHER (ISO/IEC 7816-8:2004, 5.10), with padding indicator 00."""
    return Command(0x00, 0x2A, 0x80, 0x86, b"\x00" + cryptogram, ALL)


def checksum(data: bytes) -> Command:
    """PSO COMPUTE CRYPTOGRAPHIC CHECKSUM (ISO/IEC 7816-8:2004, 5.3)."""
    return Command(0x00, 0x2A, 0x8E, 0x80, data, ALL)


def derive(point: bytes) -> Command:
    """PSO DECIPHER that agrees on a secret with the owner of `point`."""
    template = tlv.encode(0xA6, tlv.encode(0x7F49, tlv.encode(0x86, point)))
    return Command(0x00, 0x2A, 0x80, 0x86, template, 1024)


def challenge(length: int) -> Command:
    """GET CHALLENGE of `length` bytes (ISO/IEC 7816-4:2013, 11.5.3)."""
    return Command(0x00, 0x84, 0x00, 0x00, b"", length)


def point_of(answer: bytes) -> bytes:
    """The point in a public key data object."""
    return public_objects(answer)[0x86]


def public_objects(answer: bytes) -> dict[int, bytes]:
    """What is in a public key data object, by tag. Raises TlvError for anything else."""
    outer, used = tlv.parse_one(answer)
    if (outer.tag, used) != (0x7F49, len(answer)):
        raise tlv.TlvError("the answer is no public key")
    return tlv.to_dict(tlv.parse(outer.value))


def ec_public(point: bytes) -> ec.EllipticCurvePublicKey:
    """The key with this point, whose length says which curve it is on."""
    return ec.EllipticCurvePublicKey.from_encoded_point(_CURVE_OF_POINT[len(point)], point)


def check_ecdsa(point: bytes, digest_: bytes, signature: bytes) -> None:
    """Raises InvalidSignature; a digest of 32 bytes."""
    key = ec_public(point)
    key.verify(signature, digest_, ec.ECDSA(utils.Prehashed(SHA256())))


def check_eddsa(raw: bytes, message: bytes, signature: bytes) -> None:
    """Raises InvalidSignature."""
    short = len(raw) == 32
    kind = ed25519.Ed25519PublicKey if short else ed448.Ed448PublicKey
    kind.from_public_bytes(raw).verify(signature, message)


def check_rsa(key: rsa.RSAPublicKey, digest_: bytes, signature: bytes, *, pss: bool) -> None:
    """Raises InvalidSignature; PSS with SHA-256 throughout, or PKCS #1 over the digest as it is."""
    if pss:
        scheme = padding.PSS(padding.MGF1(SHA256()), 32)
        key.verify(signature, digest_, scheme, utils.Prehashed(SHA256()))
    elif key.recover_data_from_signature(signature, padding.PKCS1v15(), None) != digest_:
        raise InvalidSignature
