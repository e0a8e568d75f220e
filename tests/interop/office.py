"""An authority's desk for tests: its commands, and requests that OpenSSL makes."""

import json
from pathlib import Path

from host_tools.testing import Command, Run

PIN = {"KLYUCH_PIN": "481516"}
SECRETS = {"KLYUCH_PASSPHRASE": "barley and rye", "KLYUCH_ISSUER_PASSPHRASE": "barley and rye"}
ELLIPTIC = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")


class Office:
    """Commands and files in one folder."""

    def __init__(self, command: Command, openssl: Run, folder: Path) -> None:
        self.command = command
        self.openssl = openssl
        self.folder = folder

    def ca(self, *arguments: str | Path, code: int = 0) -> str:
        result = self.command("cert", "ca", *arguments, code=code, **SECRETS, **PIN)
        return str(result.stderr if code else result.stdout)

    def create(self, name: str, *options: str, kind: str = "P-256") -> Path:
        out = self.folder / f"{name}.pem"
        subject = () if "--subject" in options else ("--subject", f"CN={name},O=Acme,C=RU")
        own = () if "--key" in options else ("--type", kind)
        self.ca("create", name, *subject, *own, *options, "--out", out)
        return out

    def request(
        self, subject: str = "/C=RU/CN=Ann", *options: str, kind: tuple[str, ...] = ELLIPTIC
    ) -> Path:
        """A request for a new key of ``ask.key``, both by OpenSSL."""
        request, key = self.folder / "ask.csr", self.folder / "ask.key"
        self.openssl("genpkey", *kind, "-out", key)
        self.openssl(
            "req", "-new", "-key", key, "-utf8", "-subj", subject, *options, "-out", request
        )
        return request

    def issue(self, name: str, *options: str | Path, request: Path | None = None) -> Path:
        out = self.folder / f"by-{name}.pem"
        self.ca("issue", name, request or self.request(), *options, "--out", out, "--force")
        return out

    def text(self, certificate: Path) -> str:
        return self.openssl("x509", "-in", certificate, "-noout", "-text").stdout

    def issued(self, name: str) -> list[dict[str, str]]:
        issued: list[dict[str, str]] = json.loads(self.ca("show", name, "--json"))["issued"]
        return issued
