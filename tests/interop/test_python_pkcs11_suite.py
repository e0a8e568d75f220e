"""python-pkcs11's own tests, from its source distribution, judge the library beside SoftHSM2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from bench.peers import LABEL, PIN, SO_PIN, softhsm_library, softhsm_token
from host_tools.testing import Scratch
from pkcs11_module import _constants as ck
from tests.interop import peer_suite
from tests.interop.peer_suite import Outcomes

PACKAGE: Final = "python-pkcs11"
SOFTHSM2_PASSES: Final = 145

_DSA: Final = "we have no DSA: FIPS 186-5 took it out"
_DH: Final = "we have no Diffie-Hellman over finite fields"
_AES_MAC: Final = "we have CMAC in the place of CKM_AES_MAC, a CBC-MAC"
_UNDER_ITS_NAME: Final = "kept for SoftHSM2: passed below under its name"
SKIPPED: Final[Mapping[str, str]] = {
    "test_aes.AESTests.test_sign": _AES_MAC,
    "test_aes.AESTests.test_sign_stream": _AES_MAC,
    "test_dh.DHTests.test_derive_key": _DH,
    "test_dh.DHTests.test_generate_params": _DH,
    "test_dsa.DSATests.test_generate_params": _DSA,
    "test_dsa.DSATests.test_generate_keypair_and_sign": _DSA,
    "test_dsa.DSATests.test_generate_keypair_directly": _DSA,
    "test_x509.X509Tests.test_verify_certificate_dsa": _DSA,
    "test_ecc.ECCTests.test_import_key_params": "kept for SoftHSM2: a curve without a name",
    "test_slots_and_tokens.SlotsAndTokensTests.test_get_slots": (
        "kept for SoftHSM2: its slots are not removable and nothing of hardware"
    ),
    "test_slots_and_tokens.SlotsAndTokensTests.test_get_token": _UNDER_ITS_NAME,
    "test_slots_and_tokens.SlotsAndTokensTests.test_get_tokens": _UNDER_ITS_NAME,
    "test_sessions.SessionTests.test_open_session_and_login_so": _UNDER_ITS_NAME,
    "test_sessions.SessionTests.test_copy_object": _UNDER_ITS_NAME,
    "test_sessions.SessionTests.test_set_pin": _UNDER_ITS_NAME,
    "test_sessions.SessionTests.test_init_pin": _UNDER_ITS_NAME,
}
"""What is skipped with our library, and why that is right."""
LEFT_OUT: Final[Mapping[str, str]] = {
    "test_ml_kem.MLKEMTests.test_generate_ml_kem_512": (
        "the `cryptography` package has ML-KEM-768 and -1024; SoftHSM2 skips all of ML-KEM"
    ),
}
"""What asks for more than the mechanism's name, does not skip itself, and gets no key."""
_REFUSAL: Final = f"Unmapped error code {ck.CKR_PARAMETER_SET_NOT_SUPPORTED:#x}"


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return peer_suite.extract(PACKAGE, tmp_path_factory.mktemp("python-pkcs11"))


def run(
    suite: Path, library: Path, second: Path, tests: Sequence[str], environment: Mapping[str, str]
) -> Outcomes:
    """Run tests of python-pkcs11 with a library on its token LABEL; `second` is another library."""
    told = {
        "PKCS11_MODULE": str(library),
        "PKCS11_MODULE2": str(second),
        "PKCS11_TOKEN_LABEL": LABEL,
        "PKCS11_TOKEN_PIN": PIN,
        "PKCS11_TOKEN_SO_PIN": SO_PIN,
    }
    return peer_suite.run(suite, tests, {**environment, **told})


def _node(name: str) -> str:
    module, kind, test = name.split(".")
    return f"tests/{module}.py::{kind}::{test}"


@pytest.fixture(scope="module")
def softhsm(suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    with Scratch() as scratch, pytest.MonkeyPatch.context() as patch:
        # Making the token changes this, which is undone with the patch.
        patch.setenv("SOFTHSM2_CONF", "")
        scratch.create_token(LABEL, pin=PIN, so_pin=SO_PIN)
        with softhsm_token(tmp_path_factory.mktemp("softhsm2")) as environment:
            everything = {**environment, **scratch.environment}
            return run(suite, softhsm_library(), scratch.library, ["tests"], everything)


@pytest.fixture(scope="module")
def ours(suite: Path) -> Outcomes:
    with Scratch() as scratch:
        scratch.create_token(LABEL, pin=PIN, so_pin=SO_PIN)
        return run(suite, scratch.library, softhsm_library(), ["tests"], scratch.environment)


def test_nothing_but_what_is_left_out_fails(ours: Outcomes) -> None:
    told = "\n".join(f"{name}\n{said}" for name, said in ours.failed.items())
    assert ours.failed.keys() == LEFT_OUT.keys(), told
    assert all(_REFUSAL in said for said in ours.failed.values()), told
    assert len(ours.passed) > SOFTHSM2_PASSES


def test_only_what_is_explained_is_skipped(ours: Outcomes) -> None:
    assert ours.skipped.keys() == SKIPPED.keys()


def test_softhsm2_passes_nothing_that_we_skip_for_another_reason(
    ours: Outcomes, softhsm: Outcomes
) -> None:
    assert softhsm.failed == {}
    assert len(softhsm.passed) >= SOFTHSM2_PASSES
    assert softhsm.passed - ours.passed == (SKIPPED.keys() | LEFT_OUT.keys()) & softhsm.passed


def test_what_is_kept_for_softhsm2_passes_under_its_name(suite: Path, tmp_path: Path) -> None:
    library = tmp_path / "libsofthsm2.so"
    kept = [name for name, reason in SKIPPED.items() if reason is _UNDER_ITS_NAME]
    with Scratch() as scratch:
        library.symlink_to(scratch.library)
        scratch.create_token(LABEL, pin=PIN, so_pin=SO_PIN)
        scratch.create_token("another")
        tests = [_node(name) for name in kept]
        done = run(suite, library, softhsm_library(), tests, scratch.environment)
    assert done == Outcomes(passed=frozenset(kept), skipped={}, failed={})
