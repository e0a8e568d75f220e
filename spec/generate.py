"""Write the generated files from the tables of this folder; `--check` only names stale files.

Exit status: 0 when all is well, 1 when --check found stale files, 2 when a table is wrong.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from generators import SpecError

SPEC = Path(__file__).resolve().parent
ROOT = SPEC.parent


def outputs() -> dict[Path, str]:
    """Every generated file, by its path from the root of the project."""
    files: dict[Path, str] = {}
    for source in sorted((SPEC / "generators").glob("[!_]*.py")):
        module = import_module(f"generators.{source.stem}")
        files.update(module.outputs(SPEC))
    return files


def is_stale(path: Path, text: str) -> bool:
    """Whether the file is missing or has another content than the generated one."""
    file = ROOT / path
    return not file.is_file() or file.read_text(encoding="utf-8") != text


def main() -> int:
    """Run the script; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, name stale files")
    check = parser.parse_args().check
    try:
        files = outputs()
    except SpecError as error:
        print(f"spec/{error}", file=sys.stderr)
        return 2
    stale = {path: text for path, text in sorted(files.items()) if is_stale(path, text)}
    for path, text in stale.items():
        if check:
            print(f"{path} is stale: run `python spec/generate.py`", file=sys.stderr)
        else:
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(text, encoding="utf-8")
            print(path)
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
