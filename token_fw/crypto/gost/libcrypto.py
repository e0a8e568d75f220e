"""The functions of OpenSSL 3's libcrypto.so.3 that `engine` calls, with their types.

Every call lets other threads run.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_long, c_size_t, c_ubyte, c_uint, c_void_p
from functools import cache
from typing import Any, Final

LIBRARY: Final = "libcrypto.so.3"
_Der = POINTER(c_char_p)
_FUNCTIONS: Final[dict[str, tuple[Any, ...]]] = {
    "OpenSSL_version": (c_char_p, c_int),
    "ERR_clear_error": (None,),
    "OBJ_txt2nid": (c_int, c_char_p),
    "ENGINE_by_id": (c_void_p, c_char_p),
    "ENGINE_init": (c_int, c_void_p),
    "ENGINE_free": (c_int, c_void_p),
    "ENGINE_register_pkey_asn1_meths": (c_int, c_void_p),
    "ENGINE_get_digest": (c_void_p, c_void_p, c_int),
    "BN_new": (c_void_p,),
    "BN_bin2bn": (c_void_p, c_char_p, c_int, c_void_p),
    "BN_bn2binpad": (c_int, c_void_p, c_void_p, c_int),
    "BN_clear_free": (None, c_void_p),
    "EC_KEY_new": (c_void_p,),
    "EC_KEY_free": (None, c_void_p),
    "EC_KEY_get0_group": (c_void_p, c_void_p),
    "EC_KEY_get0_private_key": (c_void_p, c_void_p),
    "EC_KEY_set_group": (c_int, c_void_p, c_void_p),
    "EC_KEY_set_private_key": (c_int, c_void_p, c_void_p),
    "EC_POINT_new": (c_void_p, c_void_p),
    "EC_POINT_free": (None, c_void_p),
    "EC_POINT_mul": (c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p),
    "EC_POINT_get_affine_coordinates": (c_int, *5 * (c_void_p,)),
    "d2i_PUBKEY": (c_void_p, c_void_p, _Der, c_long),
    "EVP_PKEY_new": (c_void_p,),
    "EVP_PKEY_assign": (c_int, c_void_p, c_int, c_void_p),
    "EVP_PKEY_get0": (c_void_p, c_void_p),
    "EVP_PKEY_free": (None, c_void_p),
    "EVP_PKEY_CTX_new": (c_void_p, c_void_p, c_void_p),
    "EVP_PKEY_CTX_free": (None, c_void_p),
    "EVP_PKEY_sign_init": (c_int, c_void_p),
    "EVP_PKEY_sign": (c_int, c_void_p, c_void_p, POINTER(c_size_t), c_char_p, c_size_t),
    "EVP_PKEY_verify_init": (c_int, c_void_p),
    "EVP_PKEY_verify": (c_int, c_void_p, c_char_p, c_size_t, c_char_p, c_size_t),
    "EVP_MD_CTX_new": (c_void_p,),
    "EVP_MD_CTX_free": (None, c_void_p),
    "EVP_MD_CTX_copy_ex": (c_int, c_void_p, c_void_p),
    "EVP_DigestInit_ex": (c_int, c_void_p, c_void_p, c_void_p),
    "EVP_DigestUpdate": (c_int, c_void_p, c_char_p, c_size_t),
    "EVP_DigestFinal_ex": (c_int, c_void_p, POINTER(c_ubyte), POINTER(c_uint)),
}
"""What each gives, then what it takes."""


@cache
def libcrypto() -> ctypes.CDLL:
    """Load the library. Raises OSError where it is not there or lacks a function."""
    library = ctypes.CDLL(LIBRARY)
    for name, (result, *arguments) in _FUNCTIONS.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise OSError(f"{LIBRARY} has no {name}") from None
        function.restype, function.argtypes = result, arguments
    return library
