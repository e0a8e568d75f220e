"""The documents name only what is there, and the two READMEs tell the same."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from apdu.model import APPLICATIONS
from host_tools.cli.commands import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md")])
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
QUOTED = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\((?!https?://)([^)#]+)")
SHELL_WORDS = re.compile(r"\$\(|\)|[|;&]+|\"\$\(| -- ")


def pages() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def commands(page: Path, program: str) -> Iterator[list[str]]:
    """The words of each call of a program in the code of a page, the program's name left out."""
    text = page.read_text(encoding="utf-8")
    blocks = FENCED.findall(text)
    code = "\n".join([*blocks, *QUOTED.findall(FENCED.sub("", text))]).replace("\\\n", " ")
    for line in code.splitlines():
        for part in SHELL_WORDS.split(line.partition(" #")[0]):
            words = shlex.split(part.replace("'", "").replace('"', ""))
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words and words[0] == program:
                yield words[1:]


def find_command(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words lead to, and the words after its name."""
    command: click.Command = cli
    context = click.Context(cli)
    rest = list(words)
    while rest and isinstance(command, click.Group):
        while rest and rest[0].startswith("-"):
            rest.pop(0)
        if not rest or rest[0] == "…":
            break
        found = command.get_command(context, rest[0])
        assert found is not None, f"klyuch has no command {' '.join(words)}"
        command, rest = found, rest[1:]
    return command, rest


@pages()
def test_every_klyuch_command_in_the_docs_exists_with_its_options(page: Path) -> None:
    for words in commands(page, "klyuch"):
        command, rest = find_command(words)
        known = {
            option
            for parameter in command.params
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for word in rest:
            if word.startswith("--"):
                option = word.partition("=")[0]
                assert option in known | {"--help", "--json"}, f"klyuch {' '.join(words)}"


@pages()
def test_every_job_of_dev_in_the_docs_exists(page: Path) -> None:
    help_text = subprocess.run(
        [ROOT / "dev", "help"], capture_output=True, text=True, check=True
    ).stdout
    jobs = set(re.findall(r"^  ([a-z]+) ", help_text, re.MULTILINE))
    for words in commands(page, "./dev"):
        assert not words or words[0] in jobs, f"./dev {' '.join(words)}"


@pages()
def test_every_link_between_documents_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_russian_readme_has_the_same_code_as_the_english_one() -> None:
    def code(name: str) -> list[str]:
        blocks = FENCED.findall((ROOT / name).read_text(encoding="utf-8"))
        lines = [line.partition("#")[0].rstrip() for block in blocks for line in block.splitlines()]
        return [line for line in lines if line]

    assert code("README.md") == code("README.ru.md")


def test_the_russian_readme_has_as_many_sections_links_and_table_rows() -> None:
    def shape(name: str) -> dict[str, int]:
        text = (ROOT / name).read_text(encoding="utf-8")
        marks = {"sections": r"^#+ ", "rows": r"^\|", "items": r"^- ", "links": r"\]\("}
        return {what: len(re.findall(mark, text, re.MULTILINE)) for what, mark in marks.items()}

    assert shape("README.md") == shape("README.ru.md")


def test_the_wire_page_names_every_command_of_the_card() -> None:
    text = (ROOT / "docs" / "pki-application.md").read_text(encoding="utf-8")
    for command in APPLICATIONS["pki"].commands:
        name = command.name.removesuffix(" ODD").removesuffix(" BY SO")
        assert name in text, command.name
