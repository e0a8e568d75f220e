"""The benchmarks run through and keep a figure of every peer; no figure is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_workload_is_measured_beside_its_peers(tmp_path: Path) -> None:
    short = ["--rounds", "2", "--seconds", "0.01", "--objects", "11"]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *short, "--results", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [kept] = tmp_path.iterdir()
    results = json.loads(kept.read_text(encoding="utf-8"))["results"]
    assert len(results) == 7
    for result in results:
        assert {"klyuch", "softhsm2"} <= result["per_second"].keys(), result["workload"]
        assert result["workload"] in done.stdout
        for spread in result["ratio"].values():
            assert 0 < spread["low"] <= spread["median"] <= spread["high"]
    signatures = [result for result in results if result["workload"].startswith("sign")]
    assert all("cryptography" in result["ratio"] for result in signatures)
