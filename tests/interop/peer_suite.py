"""Tests that a package has in its source distribution, run by pytest as its authors do."""

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

ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a run of the tests came to, by the tests' names (module.Class.test)."""

    passed: frozenset[str]
    skipped: Mapping[str, str]
    """Why a test was not run."""
    failed: Mapping[str, str]
    """What the failure said."""


def _download(package: str, folder: Path) -> Path:
    """The source distribution that the lock file names, fetched if `folder` does not have it."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    (locked,) = [one for one in lock["package"] if one["name"] == package]
    assert locked["version"] == version(package), "not the locked version is installed"
    source: Mapping[str, Any] = locked["sdist"]
    path = folder / Path(urlsplit(source["url"]).path).name
    if not path.exists():
        folder.mkdir(exist_ok=True)
        try:
            with urllib.request.urlopen(source["url"], timeout=60) as answer:
                content = answer.read()
        except OSError as error:
            pytest.fail(f"{package}'s tests could not be downloaded from {source['url']}: {error}")
        # Tests that run at the same time find it whole or not at all.
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(content)
        partial.rename(path)
    found = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert found == source["hash"], f"{path} is not what the lock file names; delete it"
    return path


def extract(package: str, folder: Path) -> Path:
    """The folder of the tests, without the rest of the package: that is installed."""
    with tarfile.open(_download(package, Path(sys.prefix) / "klyuch-downloads")) as archive:
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
    suite: Path, tests: Sequence[str], environment: Mapping[str, str], patience: float = 300
) -> Outcomes:
    """Run tests; `tests` are also options of pytest, `environment` is added to that of here."""
    report = suite / "report.xml"
    options = ("-q", "-p", "no:cacheprovider", "--rootdir", suite, f"--junit-xml={report}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=suite,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    passed, skipped, failed = set[str](), dict[str, str](), dict[str, str]()
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}".removeprefix("tests.")
        trouble = [one.text or "" for one in case if one.tag in ("failure", "error")]
        skip = case.find("skipped")
        if trouble:
            failed[name] = "\n".join(trouble)
        elif skip is not None:
            skipped[name] = skip.get("message", "")
        else:
            passed.add(name)
    return Outcomes(frozenset(passed), skipped, failed)
