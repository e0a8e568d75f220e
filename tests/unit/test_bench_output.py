"""What a benchmark leaves: files that are tried first, a picture with room for its texts."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from bench import __main__ as program
from bench.measure import Spread
from bench.peers import Unavailable
from bench.plot import svg
from bench.report import Report
from bench.rows import Result as Row
from bench.rows import Verdict
from bench.whole import KEYS, Memory

SVG = "{http://www.w3.org/2000/svg}"
WIDEST, WIDEST_BOLD = 7.25, 8.2
"""Pixels a character of the picture's widest texts, as Chromium draws them in DejaVu Sans."""


@pytest.fixture(autouse=True)
def no_measuring(monkeypatch: pytest.MonkeyPatch) -> list[Report]:
    """What the program would have measured in minutes; empty where it did not come to that."""
    measured: list[Report] = []

    def run(*_: object) -> Report:
        measured.append(report())
        return measured[0]

    monkeypatch.setattr(program, "_run", run)
    return measured


def bench(*words: str) -> Result:
    return CliRunner().invoke(program.main, words)


def report(listed: float = 12.0) -> Report:
    """A report with the longest rows of a whole run."""
    rows = [
        ("sign RSA-2048 PKCS #1", Verdict("openssl", Spread(0.6, 0.646, 0.7), 0.75)),
        ("sign ECDSA P-256", Verdict("softhsm2", Spread(0.3, 0.384, 0.4), 1.0, aim=True)),
        (
            "find by CKA_ID, 10,000 session objects",
            Verdict("softhsm2", Spread(1e5, 123456, 2e5), 50),
        ),
        ("first load, no daemon running", Verdict(KEYS, Spread(0.01, 0.0232, 0.03), 1 / 3)),
    ]
    rates = {"klyuch": Spread(900.0, 1000.0, 1100.0)}
    results = [Row(name, rates, (verdict,)) for name, verdict in rows]
    return Report(datetime.now(UTC), {}, results, Memory(1000, listed, 21.0))


def extents(picture: ElementTree.Element) -> list[tuple[str, float, float, float]]:
    """Each text with its left end, its right end and its line."""
    found = []
    for text in picture.iter(f"{SVG}text"):
        said = "".join(text.itertext())
        width = len(said) * (WIDEST_BOLD if text.get("class") == "heading" else WIDEST)
        left = float(text.attrib["x"]) - (width / 2 if text.get("text-anchor") else 0)
        found.append((said, left, left + width, float(text.attrib["y"])))
    return found


@pytest.mark.parametrize("name", ["a/b", "..", "", "a.b", "ключ", "a\n", "../latest"])
def test_a_name_that_is_no_name_is_refused_before_measuring(
    name: str, tmp_path: Path, no_measuring: list[Report]
) -> None:
    done = bench("--results", str(tmp_path / "results"), f"--name={name}")
    assert done.exit_code == 2
    assert "--name" in done.output
    assert not no_measuring
    assert not (tmp_path / "results").exists()


def test_a_folder_that_cannot_be_made_is_refused_before_measuring(
    tmp_path: Path, no_measuring: list[Report]
) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in ("/proc/nope", str(tmp_path / "file"), str(tmp_path / "file" / "below")):
        done = bench("--results", folder)
        assert done.exit_code == 2
        assert f"cannot write {folder}" in done.output
    assert not no_measuring


def test_a_file_that_cannot_be_written_is_refused_before_measuring(
    tmp_path: Path, no_measuring: list[Report]
) -> None:
    (tmp_path / "latest.svg").mkdir()
    done = bench("--results", str(tmp_path))
    assert done.exit_code == 2
    assert "latest.svg: Is a directory" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["latest.svg"]
    assert not no_measuring


def test_results_are_written_to_a_folder_that_was_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    done = bench("--results", str(folder), "--name", "Quiet-run_2")
    assert done.exit_code == 0, done.output
    kept = {f"Quiet-run_2.{suffix}" for suffix in ("json", "md", "svg")}
    assert {path.name for path in folder.iterdir()} == kept


def test_earlier_results_stay_when_measuring_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Report:
        raise Unavailable("libsofthsm2.so is not installed")

    monkeypatch.setattr(program, "_run", fail)
    (tmp_path / "latest.md").write_text("earlier")
    assert bench("--results", str(tmp_path)).exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["latest.md"]
    assert (tmp_path / "latest.md").read_text() == "earlier"


def test_figures_are_told_even_if_their_files_cannot_be_written_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def block(*_: object) -> Report:
        (tmp_path / "latest.json").mkdir()
        return report()

    monkeypatch.setattr(program, "_run", block)
    done = bench("--results", str(tmp_path))
    assert done.exit_code == 1
    assert "sign ECDSA P-256" in done.output
    assert "latest.json: Is a directory" in done.output


def test_every_text_of_the_picture_has_its_room() -> None:
    picture = ElementTree.fromstring(svg(report()))
    _, _, width, height = map(float, picture.attrib["viewBox"].split())
    assert (picture.attrib["width"], picture.attrib["height"]) == (f"{width:g}", f"{height:g}")
    texts = extents(picture)
    for said, left, right, line in texts:
        assert left >= 0, said
        assert right <= width, said
        assert 13 <= line <= height - 4, said
    for (one, left, right, line), (other, begins, ends, beside) in combinations(texts, 2):
        assert line != beside or right <= begins or ends <= left, (one, other)


def test_no_label_of_the_picture_runs_into_the_plot() -> None:
    picture = ElementTree.fromstring(svg(report()))
    plot = min(float(line.attrib["x1"]) for line in picture.iter(f"{SVG}line"))
    labels = [(said, right) for said, left, right, _ in extents(picture) if left == 12]
    assert len(labels) == 1 + 4 + 1
    assert all(right < plot for _, right in labels), labels


@pytest.mark.parametrize(
    ("listed", "kind", "shown"),
    [(12.0, "met", "12.0 KiB"), (105.3, "not", "105.3 KiB"), (-1.0, "met", "-1.0 KiB")],
)
def test_memory_is_a_row_of_the_picture(listed: float, kind: str, shown: str) -> None:
    picture = ElementTree.fromstring(svg(report(listed)))
    *_, label, value = ("".join(text.itertext()) for text in picture.iter(f"{SVG}text"))
    assert label == "memory a token at rest, 1,000 tokens in one daemon"
    assert value == f"{shown} (wanted 64)"
    assert list(picture.iter(f"{SVG}g"))[-1].get("class") == kind


def test_the_picture_has_colours_of_its_own_for_light_and_dark_pages() -> None:
    light, dark = svg(report()).split("@media (prefers-color-scheme: dark)")
    styled = {"text", ".page", ".met", ".not", ".aim"}
    for part in (light, dark):
        assert all(re.search(re.escape(one) + r"[^{}]*\{[^}]*fill: #", part) for one in styled)
