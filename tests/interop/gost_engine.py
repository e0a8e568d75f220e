"""OpenSSL with gost-engine, an implementation of the GOST algorithms that is not ours."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Final

from tests.conftest import program
from tests.interop.consumers import shared_object

_SET_KEY: Final = 0x1000 + 4
"""EVP_MD_CTRL_SET_KEY of the engine."""

# The sets by the names the engine generates keys with.
SETS: Final = {
    "CryptoPro-A": "A",
    "CryptoPro-B": "B",
    "CryptoPro-C": "C",
    "CryptoPro-XchA": "XA",
    "CryptoPro-XchB": "XB",
    "tc26-256-A": "TCA",
    "tc26-256-B": "TCB",
    "tc26-256-C": "TCC",
    "tc26-256-D": "TCD",
    "tc26-512-A": "A",
    "tc26-512-B": "B",
    "tc26-512-C": "C",
}


class Engine:
    """OpenSSL's command line with the gost engine, in a folder."""

    def __init__(self, folder: Path) -> None:
        shared_object("gost.so", "engines-", "libengine-gost-openssl")
        self._folder = folder
        self._openssl = program("openssl", "openssl")

    def run(self, job: str, *arguments: str, data: bytes = b"", code: int = 0) -> bytes:
        done = subprocess.run(
            [self._openssl, job, "-engine", "gost", *arguments],
            input=data,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == code, (done.stdout + done.stderr).decode(errors="replace")
        return done.stdout

    def file(self, name: str, data: bytes) -> str:
        path = self._folder / name
        path.write_bytes(data)
        return str(path)

    def generate(self, name: str) -> bytes:
        algorithm = "gost2012_512" if name.startswith("tc26-512-") else "gost2012_256"
        options = ("-algorithm", algorithm, "-pkeyopt", f"paramset:{SETS[name]}")
        return self.run("genpkey", *options, "-outform", "DER")

    def private_file(self, pkcs8: bytes, name: str = "private.pem") -> str:
        pem = self.run("pkey", "-inform", "DER", data=pkcs8)
        return self.file(name, pem)

    def public_file(self, spki: bytes, name: str = "public.pem") -> str:
        pem = self.run("pkey", "-pubin", "-inform", "DER", data=spki)
        return self.file(name, pem)


def engine_mac(name: str, key: bytes, data: bytes, size: int) -> bytes:
    """A code of the engine.

    By its EVP interface: the command line calculates Magma's where it is asked for Kuznyechik's.
    """
    library = ctypes.CDLL("libcrypto.so.3")
    for function in ("ENGINE_by_id", "ENGINE_get_digest", "EVP_MD_CTX_new"):
        getattr(library, function).restype = ctypes.c_void_p
    engine = ctypes.c_void_p(library.ENGINE_by_id(b"gost"))
    assert library.ENGINE_init(engine) == 1
    kind = library.ENGINE_get_digest(engine, library.OBJ_txt2nid(name.encode()))
    context = ctypes.c_void_p(library.EVP_MD_CTX_new())
    assert library.EVP_DigestInit_ex(context, ctypes.c_void_p(kind), engine) == 1
    assert library.EVP_MD_CTX_ctrl(context, _SET_KEY, len(key), key) == 1
    assert library.EVP_DigestUpdate(context, data, ctypes.c_size_t(len(data))) == 1
    code = ctypes.create_string_buffer(64)
    assert library.EVP_DigestFinal_ex(context, code, None) == 1
    library.EVP_MD_CTX_free(context)
    library.ENGINE_finish(engine)
    library.ENGINE_free(engine)
    return code.raw[:size]
