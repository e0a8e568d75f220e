"""The checks of ``klyuch doctor``: each says what it found and, where wrong, what mends it."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata

from host_tools import workplace
from host_tools.control import ControlClient, ControlError, DaemonSilent, Json
from host_tools.cryptoki import LIBRARY, Cryptoki, CryptokiError
from host_tools.findings import Finding
from host_tools.home import Home, HomeError
from host_tools.version import version

_LOWEST_PYTHON = (3, 11)
_PACKAGES = ("cryptography", "asn1crypto", "construct", "click", "rich")
_PATIENCE = 10.0


def examine(home: Home) -> Iterator[Finding]:
    """All checks, in an order in which the first that fails explains the later ones."""
    for check in (_python, _packages, _compiler, _home):
        yield check(home)
    try:
        yield from _daemon(home)
        yield _library()
    except DaemonSilent as error:
        yield Finding("daemon", False, error.message, error.hint)
        # It would wait for the same daemon, and longer.
        yield Finding("PKCS#11", False, "not asked, as the daemon does not answer", error.hint)
    yield _openssl(home)
    yield _pkcs11_tool(home)
    yield from workplace.examine()


def _python(_home: Home) -> Finding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    enough = sys.version_info >= _LOWEST_PYTHON
    mend = "" if enough else "Install Python 3.11 or later: apt-get install python3"
    return Finding("Python", enough, f"{found} in {sys.executable}", mend)


def _packages(_home: Home) -> Finding:
    versions, missing = [], []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding(
            "packages", False, f"missing: {', '.join(missing)}", "Set the project up: ./dev test"
        )
    return Finding("packages", True, ", ".join([f"klyuch {version()}", *versions]))


def _compiler(_home: Home) -> Finding:
    """A compiler matters only as long as the library is not built."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is not None:
        return Finding("compiler", True, compiler)
    if LIBRARY.exists():
        return Finding("compiler", True, "none, and none is needed: the library is built")
    return Finding("compiler", False, "none", "apt-get install gcc libc6-dev")


def _home(home: Home) -> Finding:
    problems: list[HomeError] = home.problems()
    if problems:
        return Finding("home", False, " ".join(map(str, problems)), problems[0].hint)
    if (full := home.unwritable()) is not None:
        return Finding("home", False, str(full), full.hint)
    if not home.path.exists():
        state = "will be made when it is needed"
    elif home.path.stat().st_mode & 0o077:
        state = f"can be looked into by others, not its tokens; to end it: chmod 700 '{home.path}'"
    else:
        state = "is private"
    return Finding("home", True, f"{home.path} {state}")


def _daemon(home: Home) -> Iterator[Finding]:
    try:
        with ControlClient(home) as client:
            yield _daemon_state(client.call("status"))
            report = client.call("check")
    except DaemonSilent:
        raise
    except (ControlError, HomeError) as error:
        yield Finding("daemon", False, str(error), error.hint)
        return
    except OSError as error:
        yield Finding("daemon", False, str(error))
        return
    tokens, strays = report["tokens"], report["strays"]
    assert isinstance(tokens, list)
    assert isinstance(strays, list)
    yield from map(_token, tokens)
    if not tokens:
        yield Finding("tokens", True, "none yet; make one: klyuch token create LABEL")
    for path in strays:
        yield Finding("files", False, f"{path} belongs to no token", f"If so, delete it: rm {path}")
    if home.damaged_registry.exists():
        yield Finding(
            "registry",
            False,
            f"was damaged: slots were numbered anew, what it held is in {home.damaged_registry}",
            f"Once you have seen to it: rm {home.damaged_registry}",
        )


def _daemon_state(status: Json) -> Finding:
    theirs, ours = status["version"], version()
    programs = f"{status['applications']} programs by PKCS#11"
    found = f"process {status['pid']}, version {theirs}, {programs}"
    # One of them asks here.
    others, most = int(str(status["connections"])) - 1, int(str(status["most_connections"]))
    if others >= most:
        crowded = f"{found}; {others} connections are open, its limit of open files carries no more"
        return Finding("daemon", False, crowded, "Close applications, or raise: ulimit -n")
    if theirs == ours:
        return Finding("daemon", True, found)
    return Finding("daemon", False, f"{found}; this is {ours}", "Run the same one: klyuch stop")


def _token(token: Json) -> Finding:
    name = f"token {token['label'] or token['serial']}"
    slot = f"slot {token['slot']}, {token['state']}"
    if token["fault"]:
        mend = f"Put a copy of its files back, or: klyuch token reset {token['serial']} --force"
        return Finding(name, False, f"{slot}: {token['fault']}", mend)
    if token["trouble"]:
        mend = "Mend what it names, and use the token: it is tried again then"
        return Finding(name, False, f"{slot}: {token['trouble']}", mend)
    pins = token.get("pins", [])
    assert isinstance(pins, list)
    tries = ", ".join(_tries(pin) for pin in pins)
    locked = [pin["name"] for pin in pins if pin["initialised"] and not pin["tries_left"]]
    found = f"{slot}; {tries}" if tries else slot
    if locked == ["user"]:
        return Finding(name, False, found, f"klyuch pin unblock --token {token['serial']}")
    if locked:
        return Finding(name, False, found, f"klyuch token reset {token['serial']} --force")
    return Finding(name, True, found)


def _tries(pin: Json) -> str:
    title = "user PIN" if pin["name"] == "user" else "SO PIN"
    if not pin["initialised"]:
        return f"{title} not set"
    return f"{title} {pin['tries_left']} of {pin['tries']} tries left"


def _library() -> Finding:
    mend = "Set the project up again: ./dev test"
    if not LIBRARY.exists():
        return Finding("PKCS#11", False, f"{LIBRARY} is not built", mend)
    try:
        with Cryptoki() as library:
            info, slots = library.info(), library.slots(present=False)
    except OSError as error:
        return Finding("PKCS#11", False, f"{LIBRARY}: {error}", mend)
    except CryptokiError as error:
        mend = "Mend what is wrong above; if nothing is: KLYUCH_DEBUG=1 klyuch doctor"
        return Finding("PKCS#11", False, f"{LIBRARY}: {error}", mend)
    found = f"{LIBRARY} answers: {info.description}, {len(slots)} slots"
    return Finding("PKCS#11", True, found)


def _openssl(_home: Home) -> Finding:
    path = shutil.which("openssl")
    if path is None:
        mend = "The demo needs it: apt-get install openssl"
        return Finding("openssl", False, "not installed", mend)
    done = subprocess.run(
        [path, "version"], capture_output=True, text=True, check=False, timeout=_PATIENCE
    )
    return Finding("openssl", done.returncode == 0, f"{path}, {done.stdout.strip()}")


def _pkcs11_tool(_home: Home) -> Finding:
    path = shutil.which("pkcs11-tool")
    if path is None:
        return Finding("pkcs11-tool", True, "not installed", "apt-get install opensc")
    return Finding("pkcs11-tool", True, path)
