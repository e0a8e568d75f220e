"""Signatures in PDF documents: pdfsig of Poppler judges ours, and we what was done to documents."""

import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

from host_tools.cli.failures import Exit
from host_tools.testing import Command, ScratchToken
from tests.conftest import program
from tests.interop import signers
from tests.interop.signers import DAY, NOW
from tests.interop.test_sign_openssl import PIN, certified

PAGE = b"""<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R
/Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>"""
TEXT = b"BT /F1 12 Tf 20 100 Td (Pay Bob 100 roubles) Tj ET"


def document() -> bytes:
    """A PDF document of one page."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        PAGE,
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(TEXT), TEXT),
    ]
    made, places = b"%PDF-1.7\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return made + (
        b"xref\n0 5\n0000000000 65535 f \n%strailer\n" % table
        + b"<< /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(made)
    )


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    file = tmp_path / "paper.pdf"
    file.write_bytes(document())
    return file


def signed_by(command: Command, name: str, paper: Path, out: Path) -> Path:
    """Sign as somebody new; the file with the certificate."""
    key = signers.holder(name).write(paper.with_name(f"{name}.key"))
    trusted = key.with_suffix(".pem")
    command("sign", paper, "--pdf", "--out", out, "--key-file", key, "--cert", trusted)
    return trusted


def pdfsig(file: Path) -> str:
    """What Poppler finds; it looks for no authorities."""
    return subprocess.run(
        [program("pdfsig", "poppler-utils"), "-nocert", file],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip


@pytest.mark.parametrize("kind", ["RSA-2048", "P-256"])
def test_poppler_finds_the_signature_of_a_token_good(
    command: Command, token: ScratchToken, paper: Path, kind: str
) -> None:
    assert token.label
    trusted = certified(command, kind, paper.parent)
    command("sign", paper, "--pdf", "--key", kind, **PIN)
    signed = paper.with_name("paper.signed.pdf")
    said = pdfsig(signed)
    assert "Signature is Valid." in said
    assert f"Signer Certificate Common Name: {kind}" in said
    assert "ETSI.CAdES.detached" in said
    assert "Total document signed" in said
    told = command("verify", signed, "--pdf", "--trust", trusted, "--json").stdout
    (one,) = json.loads(told)["signatures"]
    assert (one["verdict"], one["form"], one["remark"]) == ("ok", "CAdES-BES", "")
    assert one["signing_time"]
    command("verify", signed, "--pdf", code=Exit.UNTRUSTED.value)

    changed = signed.read_bytes().replace(b"100 roubles", b"900 roubles")
    signed.write_bytes(changed)
    assert "Signature is Invalid" in pdfsig(signed) or "Digest Mismatch" in pdfsig(signed)
    refused = command("verify", signed, "--pdf", "--trust", trusted, code=Exit.TAMPERED.value)
    assert "The content is not the one that was signed." in refused.stderr


def test_a_second_signature_leaves_the_first_whole(command: Command, paper: Path) -> None:
    first, second = paper.with_name("first.pdf"), paper.with_name("second.pdf")
    ann = signed_by(command, "Ann", paper, first)
    bob = signed_by(command, "Bob", first, second)
    assert pdfsig(second).count("Signature is Valid.") == 2
    told = command("verify", second, "--pdf", "--trust", ann, "--trust", bob, "--json").stdout
    one, other = json.loads(told)["signatures"]
    assert (one["signer"], one["verdict"]) == ("CN=Ann", "ok")
    assert one["remark"].endswith("bytes were added to the document after it")
    assert (other["signer"], other["verdict"], other["remark"]) == ("CN=Bob", "ok", "")


def test_text_that_is_changed_by_an_update_is_found(command: Command, paper: Path) -> None:
    """The bytes that were signed are all there: pdfsig calls the signature valid, but not whole."""
    signed = paper.with_name("signed.pdf")
    trusted = signed_by(command, "Ann", paper, signed)
    writer = IncrementalPdfFileWriter(BytesIO(signed.read_bytes()))
    stream = generic.StreamObject(stream_data=TEXT.replace(b"100", b"900"))
    page = writer.root["/Pages"]["/Kids"][0]
    page["/Contents"] = writer.add_object(stream)
    writer.update_container(page)
    output = BytesIO()
    writer.write(output)  # type: ignore[no-untyped-call]  # pyHanko leaves it without types
    signed.write_bytes(output.getvalue())
    assert "Not total document signed" in pdfsig(signed)
    refused = command("verify", signed, "--pdf", "--trust", trusted, code=Exit.TAMPERED.value)
    assert "The document was changed after it was signed." in refused.stderr


def test_bytes_behind_the_end_are_found(command: Command, paper: Path) -> None:
    signed = paper.with_name("signed.pdf")
    trusted = signed_by(command, "Ann", paper, signed)
    signed.write_bytes(signed.read_bytes() + b"% and 900 more\n")
    command("verify", signed, "--pdf", "--trust", trusted, code=Exit.TAMPERED.value)


def test_a_range_that_leaves_out_more_than_the_signature(command: Command, paper: Path) -> None:
    """Ranges moved apart, the digest of what is left being of no account then."""
    signed = paper.with_name("signed.pdf")
    trusted = signed_by(command, "Ann", paper, signed)
    content = signed.read_bytes()
    start = content.index(b"/ByteRange [") + len(b"/ByteRange [")
    end = content.index(b"]", start)
    first, begin, second, size = map(int, content[start:end].split())
    moved = b"%d %d %d %d" % (first, begin, second + 2, size - 2)
    signed.write_bytes(content[:start] + moved.ljust(end - start) + content[end:])
    refused = command("verify", signed, "--pdf", "--trust", trusted, code=Exit.TAMPERED.value)
    assert "leaves out more of the document than itself" in refused.stderr


def test_an_expired_signer_of_a_document(command: Command, paper: Path) -> None:
    signed = paper.with_name("signed.pdf")
    trusted = signed_by(command, "Ann", paper, signed)
    later = str(NOW + 20 * DAY)
    command("verify", signed, "--pdf", "--trust", trusted, "--at", later, code=Exit.EXPIRED.value)
    command("verify", signed, "--pdf", "--trust", trusted, "--at", "signing-time")


def test_what_is_no_signed_document_is_refused(command: Command, paper: Path) -> None:
    refused = command("verify", paper, "--pdf", code=Exit.MALFORMED.value)
    assert "The document has no signature." in refused.stderr
    paper.write_bytes(b"no document")
    refused = command("verify", paper, "--pdf", code=Exit.MALFORMED.value)
    assert "no PDF document" in refused.stderr
    key = signers.holder("Ann").write(paper.with_name("ann.key"))
    options = ("--key-file", key, "--cert", key.with_suffix(".pem"))
    refused = command("sign", paper, "--pdf", *options, code=Exit.GENERAL.value)
    assert "no PDF document" in refused.stderr
    assert not paper.with_name("paper.signed.pdf").exists()


def test_without_pyhanko_it_is_said_how_to_get_it(tmp_path: Path, paper: Path) -> None:
    """An interpreter that finds no such package."""
    hidden = "import sys; sys.modules['pyhanko'] = None; from host_tools.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", hidden, "verify", "--pdf", paper],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == Exit.GENERAL.value
    assert f"Next: Install it: {sys.executable} -m pip install 'pyhanko>=" in done.stderr


def test_what_pyhanko_finds_odd_is_not_told_beside_our_errors(paper: Path) -> None:
    """In a process of its own: what is logged in the process of the tests, they catch."""
    paper.write_bytes(document().replace(b"startxref\n", b"startxref "))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "host_tools.cli", "verify", "--pdf", paper],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == Exit.MALFORMED.value
    assert done.stderr == "Error: The document has no signature.\n"
