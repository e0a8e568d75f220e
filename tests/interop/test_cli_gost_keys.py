"""`klyuch key` with keys of GOST R 34.10-2012: made, listed, imported, deleted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from host_tools.testing import Command, ScratchToken
from tests.interop.consumers import Owner
from tests.interop.gost_engine import Engine
from token_fw.crypto import GOST_SPECS

SETS = sorted(spec.curve for spec in GOST_SPECS)


def keys(owner: Owner) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(owner.run("key", "list", "--json"))
    return found


def test_keys_of_every_set_are_made_and_listed(owner: Owner) -> None:
    for name in SETS:
        owner.run("key", "generate", name, "--label", name)
    found = {one["label"]: (one["type"], one["usage"], one["public"]) for one in keys(owner)}
    assert found == {name: (name, ["sign"], True) for name in SETS}


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        ("gost256", "CryptoPro-A"),
        ("GOST-512", "tc26-512-A"),
        ("cryptopro:b", "CryptoPro-B"),
        ("TC26-256-D", "tc26-256-D"),
    ],
)
def test_a_set_need_not_be_chosen(owner: Owner, asked: str, made: str) -> None:
    owner.run("key", "generate", asked, "--usage", "sign", "--usage", "derive")
    (found,) = keys(owner)
    assert (found["type"], found["usage"]) == (made, ["sign", "derive"])


@pytest.mark.parametrize(
    ("algorithm", "set_", "name"),
    [
        ("gost2012_256", "A", "CryptoPro-A"),
        ("gost2012_256", "TCB", "tc26-256-B"),
        ("gost2012_512", "A", "tc26-512-A"),
        ("gost2012_512", "C", "tc26-512-C"),
    ],
)
def test_a_key_that_openssl_made_is_imported(
    owner: Owner, engine: Engine, algorithm: str, set_: str, name: str
) -> None:
    made = engine.run(
        "genpkey", "-algorithm", algorithm, "-pkeyopt", f"paramset:{set_}", "-outform", "PEM"
    )
    file = owner.folder / "key.pem"
    file.write_bytes(made)
    owner.run("key", "import", file, "--label", "imported")
    (found,) = keys(owner)
    assert (found["label"], found["type"], found["private"]) == ("imported", name, True)
    owner.run("key", "delete", "imported", "--yes")
    assert keys(owner) == []


def test_a_key_with_a_set_that_is_not_known_is_refused(
    command: Command, token: ScratchToken, engine: Engine, tmp_path: Path
) -> None:
    made = engine.run(
        "genpkey", "-algorithm", "gost2012_256", "-pkeyopt", "paramset:0", "-outform", "PEM"
    )
    file = tmp_path / "key.pem"
    file.write_bytes(made)
    refused = command("key", "import", file, code=1, KLYUCH_PIN=token.pin)
    assert "do not fit on the token" in refused.output
    assert "CryptoPro-A" in refused.output
    refused = command("key", "generate", "tc26-256-E", code=2, KLYUCH_PIN=token.pin)
    assert "tc26-256-D" in refused.output


@pytest.mark.parametrize("name", ["CryptoPro-A", "tc26-256-A", "tc26-512-C"])
def test_a_key_of_the_token_certifies_itself(owner: Owner, engine: Engine, name: str) -> None:
    """OpenSSL with the engine finds the certificate good, and a changed one bad."""
    owner.run("key", "generate", name, "--label", "root")
    file = owner.folder / "root.pem"
    owner.run("cert", "request", "root", "--subject", "CN=Корень", "--self-signed", "-o", file)
    verify = ("-check_ss_sig", "-trusted", str(file), str(file))
    assert b": OK" in engine.run("verify", *verify)
    request = owner.folder / "root.csr"
    owner.run("cert", "request", "root", "--subject", "CN=Корень", "-o", request)
    engine.run("req", "-verify", "-noout", "-in", str(request))
