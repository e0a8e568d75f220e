"""The benchmarks run through and keep a figure of every peer; no figure is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.measure import Spread, interleave, ratios
from bench.report import outcome
from bench.rows import Verdict, Want, judge

ROOT = Path(__file__).resolve().parents[2]
_GOST = ("CryptoPro-A", "tc26-512-A", "Streebog")
PEERS = {"klyuch", "softhsm2", "p11-kit"}
_OTHER_PEERS = ("first load", "pcscd", "SCardGetStatusChange", *_GOST)
ISSUE = {
    ("sign RSA-2048 PKCS #1", "softhsm2"): 1.5,
    ("sign RSA-2048 PKCS #1", "openssl"): 0.75,
    ("sign ECDSA P-256", "p11-kit"): 1.0,
    ("sign ECDSA P-256", "softhsm2"): 1.0,
    ("find by CKA_ID, 20 token objects", "softhsm2"): 50.0,
    ("find by CKA_ID, 40 session objects", "softhsm2"): 50.0,
    ("C_GetAttributeValue, 4 attributes", "p11-kit"): 1.0,
    ("initialize, open, log in", "p11-kit"): 1.0,
    ("an APDU through pcscd", "vpcd as shipped"): 100.0,
    ("insertion seen by SCardGetStatusChange", "20 ms"): 1.0,
    ("sign CryptoPro-A", "openssl with gost-engine"): 0.8,
    ("sign CryptoPro-A, in Python", "openssl with gost-engine"): 0.25,
    ("first load, no daemon running", "python -c 'import cryptography'"): 1 / 3,
    ("first load, no daemon running", "the same with its modules for keys"): 1 / 3,
}


def _bench(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--results", folder, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a run's results, and what it printed."""
    folder = tmp_path_factory.mktemp("results")
    done = _bench(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


@pytest.fixture
def document(run: tuple[Path, str]) -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads((run[0] / "latest.json").read_text(encoding="utf-8"))
    return content


def test_every_row_is_measured_beside_its_peers(document: Mapping[str, Any]) -> None:
    assert len(document["results"]) == 24
    for result in document["results"]:
        if not any(name in result["name"] for name in _OTHER_PEERS):
            assert result["per_second"].keys() >= PEERS, result["name"]
        for ratio in result["ratios"]:
            spread = ratio["ratio"]
            assert 0 < spread["low"] <= spread["median"] <= spread["high"]
    signatures = [one for one in document["results"] if one["name"].startswith("sign")]
    assert all(any("openssl" in peer for peer in one["per_second"]) for one in signatures)
    assert document["memory"]["tokens"] == 4


def test_everything_that_is_wanted_is_told_met_or_not(
    run: tuple[Path, str], document: Mapping[str, Any]
) -> None:
    wanted = {
        (result["name"], ratio["peer"]): ratio["least"]
        for result in document["results"]
        for ratio in result["ratios"]
        if ratio["met"] is not None and ratio["peer"] != "fewer objects"
    }
    assert wanted == ISSUE
    page = (run[0] / "latest.md").read_text(encoding="utf-8")
    for text in (run[1], page):
        assert all(name in text for name, _ in ISSUE)
        assert text.count("met") >= len(ISSUE)


def test_the_picture_has_a_row_for_everything_that_is_wanted(run: tuple[Path, str]) -> None:
    picture = (run[0] / "latest.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(picture)
    for name, peer in ISSUE:
        assert name in picture
        assert peer.split(" -c ")[0] in picture


def test_piped_output_has_no_colours(run: tuple[Path, str]) -> None:
    assert "\x1b" not in run[1]


def test_json_is_the_only_output_that_was_asked_for(tmp_path: Path) -> None:
    done = _bench(tmp_path, "--json", "--name", "other")
    assert json.loads(done.stdout) == json.loads((tmp_path / "other.json").read_text("utf-8"))


def test_who_begins_changes_from_round_to_round() -> None:
    order: list[str] = []

    def note(name: str) -> float:
        order.append(name)
        return 1.0

    interleave({"a": lambda: note("a"), "b": lambda: note("b")}, 2)
    assert order == ["a", "b", "a", "b", "b", "a"]


def test_a_ratio_is_taken_inside_each_round() -> None:
    assert ratios([10, 100, 1000], [1, 10, 100]) == Spread(10, 10, 10)


@pytest.mark.parametrize(
    ("least", "aim", "said"),
    [(2.0, False, "met"), (3.0, False, "not met"), (3.0, True, "aim not met"), (None, False, "")],
)
def test_a_verdict_compares_the_median(least: float | None, aim: bool, said: str) -> None:
    assert outcome(Verdict("peer", Spread(1.0, 2.0, 9.0), least, aim)) == said


def test_a_row_is_judged_by_what_is_wanted_of_it() -> None:
    rates = {"klyuch": [2.0, 2.0], "softhsm2": [1.0, 1.0], "p11-kit": [4.0, 4.0]}
    verdicts = judge("row", rates, (Want("softhsm2", 1.5),)).verdicts
    assert [(one.peer, one.met) for one in verdicts] == [("softhsm2", True), ("p11-kit", None)]
