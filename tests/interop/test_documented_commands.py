"""The commands and programs that the documents print are run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from host_tools.testing import Scratch

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "howto").glob("*.md"))]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_prints_runs(page: Path, home: Scratch, tmp_path: Path) -> None:
    # The page's own `. .venv/bin/activate` finds the environment the tests run in.
    (tmp_path / ".venv").symlink_to(sys.prefix)
    script = ["set -ex"]
    for number, (language, code) in enumerate(BLOCK.findall(page.read_text(encoding="utf-8"))):
        if language == "python":
            (tmp_path / f"{number}.py").write_text(code, encoding="utf-8")
        script.append(code if language == "sh" else f"{sys.executable} {number}.py\n")
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", "-c", "\n".join(script)],
        cwd=tmp_path,
        env={**os.environ, **home.environment, "PATH": programs},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
