"""The demo's steps all succeed, in a home that is gone afterwards."""

import json
import re
from pathlib import Path

from host_tools.testing import Run, Scratch

_WORD = re.compile(
    r"Make a token|Make|Log in|Sign again|Sign|Watch|three wrong|right PIN|kill -9|SO"
)
_STEPS = [
    *("Make a token", "Log in", "Make", "Make", "Make", "Sign", "Sign", "Sign", "Watch"),
    *("three wrong", "right PIN", "kill -9", "SO", "Sign again"),
]


def test_every_step_succeeds_and_nothing_is_left(klyuch: Run, tmp_path: Path) -> None:
    done = klyuch("demo", "--json", TMPDIR=str(tmp_path))
    document = json.loads(done.stdout)
    assert document["ok"]
    assert all(step["ok"] for step in document["steps"])
    assert [_WORD.findall(step["title"])[0] for step in document["steps"]] == _STEPS
    assert any("COMPUTE DIGITAL SIGNATURE" in line for line in document["trace"])
    assert list(tmp_path.iterdir()) == []


def test_a_failed_step_fails_the_demo(klyuch: Run, home: Scratch, tmp_path: Path) -> None:
    """An openssl that verifies nothing stands in the way."""
    liar = tmp_path / "openssl"
    liar.write_text("#!/bin/sh\nexit 1\n")
    liar.chmod(0o755)
    done = klyuch("demo", code=1, PATH=str(tmp_path))
    assert "A step FAILED" in done.stdout
    assert home.home.daemon_pid() is None
