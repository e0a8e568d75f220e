"""The packages for others to install: what is in them, and what a build without a compiler says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_SOURCE = shutil.ignore_patterns(
    *(".*_cache", "__pycache__", ".git", ".hypothesis", ".venv*", "*.so", "latest.*")
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with nothing compiled in it."""
    return Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("package") / "c", ignore=NOT_SOURCE))


def build(checkout: Path, target: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", target],
        cwd=checkout,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_wheel_holds_the_library_and_the_tables_and_names_its_platform(checkout: Path) -> None:
    done = build(checkout, "wheel")
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = (checkout / "dist").glob("*.whl")
    assert "-py3-none-linux_" in wheel.name
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "pkcs11_module/libklyuch-pkcs11.so" in names
    spec = checkout / "spec"
    assert {f"apdu/_spec/{table.relative_to(spec)}" for table in spec.rglob("*.toml")} <= names
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"apdu", "token_fw", "pkcs11_module", "host_tools"}
    assert not {name for name in names if name.endswith((".c", ".h"))}


def test_the_source_package_holds_everything_the_build_and_the_tests_need(checkout: Path) -> None:
    done = build(checkout, "sdist")
    assert done.returncode == 0, done.stdout + done.stderr
    [archive] = (checkout / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as package:
        names = {name.partition("/")[2] for name in package.getnames()}
    wanted = ["dev", ".ci/run", "hatch_build.py", "uv.lock", "LICENSE", "README.ru.md"]
    for pattern in ("**/*.py", "**/*.[ch]", "**/*.md", "**/*.toml"):
        wanted += [str(path.relative_to(checkout)) for path in checkout.glob(pattern)]
    assert set(wanted) <= names
    assert not {name for name in names if name.endswith(".so")}


def test_a_build_without_a_compiler_says_what_to_install(checkout: Path) -> None:
    done = build(checkout, "wheel", CC="no-such-compiler")
    assert done.returncode != 0
    told = done.stdout + done.stderr
    assert "No C compiler: 'no-such-compiler' is not installed" in told
    assert "apt-get install gcc libc6-dev" in told
    assert "Traceback" not in told
