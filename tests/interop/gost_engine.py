"""OpenSSL with gost-engine, an implementation of the GOST algorithms that is not ours."""

from __future__ import annotations

import ctypes
import subprocess
from typing import Final

from tests.conftest import program

_SET_KEY: Final = 0x1000 + 4
"""EVP_MD_CTRL_SET_KEY of the engine."""


def openssl(job: str, *arguments: str, data: bytes = b"") -> bytes:
    """What a job of the command line with the engine prints."""
    command = [program("openssl", "openssl"), job, "-engine", "gost", *arguments]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


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
