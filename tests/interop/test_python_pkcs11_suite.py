"""python-pkcs11's own tests, from its source distribution, judge the library beside SoftHSM2."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tomllib
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest

from bench.peers import LABEL, PIN, SO_PIN, softhsm_library, softhsm_token
from host_tools.testing import Scratch
from pkcs11_module import _constants as ck

ROOT: Final = Path(__file__).resolve().parents[2]
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


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a run of the tests came to, by the tests' names (module.Class.test)."""

    passed: frozenset[str]
    skipped: frozenset[str]
    failed: Mapping[str, str]
    """What the failure said."""


def _download(folder: Path) -> Path:
    """The source distribution that the lock file names, fetched if `folder` does not have it."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    (locked,) = [one for one in lock["package"] if one["name"] == PACKAGE]
    assert locked["version"] == version(PACKAGE), "not the locked version is installed"
    source: Mapping[str, Any] = locked["sdist"]
    path = folder / Path(urlsplit(source["url"]).path).name
    if not path.exists():
        folder.mkdir(exist_ok=True)
        try:
            with urllib.request.urlopen(source["url"], timeout=60) as answer:
                content = answer.read()
        except OSError as error:
            pytest.fail(f"{PACKAGE}'s tests could not be downloaded from {source['url']}: {error}")
        path.write_bytes(content)
    found = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert found == source["hash"], f"{path} is not what the lock file names; delete it"
    return path


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tests, without the rest of the package: that is installed."""
    folder = tmp_path_factory.mktemp("python-pkcs11")
    with tarfile.open(_download(Path(sys.prefix) / "klyuch-downloads")) as archive:
        top = Path(archive.getnames()[0]).parts[0]
        for member in archive.getmembers():
            content = archive.extractfile(member)
            # By hand: `filter` is not known to every Python 3.11, and asked for by later ones.
            if content is not None and member.name.startswith(f"{top}/tests/"):
                place = folder / member.name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content.read())
    return folder / top


def run(
    suite: Path, library: Path, second: Path, tests: Sequence[str], environment: Mapping[str, str]
) -> Outcomes:
    """Run tests of python-pkcs11 with a library on its token LABEL; `second` is another library."""
    report = suite / "report.xml"
    environment = {
        **os.environ,
        **environment,
        "PKCS11_MODULE": str(library),
        "PKCS11_MODULE2": str(second),
        "PKCS11_TOKEN_LABEL": LABEL,
        "PKCS11_TOKEN_PIN": PIN,
        "PKCS11_TOKEN_SO_PIN": SO_PIN,
    }
    options = ("-q", "-p", "no:cacheprovider", "--rootdir", suite, f"--junit-xml={report}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=suite,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    passed, skipped, failed = set[str](), set[str](), dict[str, str]()
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}".removeprefix("tests.")
        trouble = [one.text or "" for one in case if one.tag in ("failure", "error")]
        if trouble:
            failed[name] = "\n".join(trouble)
        elif case.find("skipped") is not None:
            skipped.add(name)
        else:
            passed.add(name)
    return Outcomes(frozenset(passed), frozenset(skipped), failed)


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
    assert ours.skipped == SKIPPED.keys()


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
    assert done == Outcomes(passed=frozenset(kept), skipped=frozenset(), failed={})
