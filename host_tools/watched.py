"""An interface whose APDUs somebody watches: for people, for programs, and for a recording."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from apdu import exchange
from apdu.model import APPLICATIONS
from apdu.recording import Entry, Mask, Recorder
from apdu.trace import Trace
from apdu.transport import TransportError
from host_tools.tracing import Form, Tracer
from token_fw.card import Interface

_FIRST = "pki"


class Watched:
    """An interface that tells every APDU to whoever watches its token."""

    def __init__(self, interface: Interface, tracer: Tracer, serial: str, door: int) -> None:
        self._tracer = tracer
        self._serial = serial
        # It may have been selected before anybody watched.
        application = APPLICATIONS[interface.application or _FIRST]
        trace = Trace(interface, self._tell, application, cause=lambda: str(interface.cause or ""))
        self._interface = interface
        self._door = door
        self._mask = Mask(application)
        self._recorder = Recorder(trace, self._keep, self._mask, door)

    def transceive(self, command: bytes) -> bytes:
        """Exchange one APDU; raises what the interface raises, after telling it."""
        began = time.perf_counter()
        try:
            return self._recorder.transceive(command)
        except TransportError as error:
            took = time.perf_counter() - began
            entry = self._mask.entry(self._door, began, took, command, b"")
            self._tell_fields(entry, error=str(error))
            raise

    def was_reset(self) -> None:
        """Tell that the interface was reset."""
        self._recorder.was_reset()

    def _tell(self, line: str) -> None:
        for watch in self._tracer.watches(self._serial, Form.LINES):
            watch.put({"line": line})

    def _keep(self, entry: Entry) -> None:
        for watch in self._tracer.watches(self._serial, Form.RECORDING):
            watch.put({"entry": replace(entry, at=entry.at - watch.began).line()})
        self._tell_fields(entry, cause=str(self._interface.cause or ""))

    def _tell_fields(self, entry: Entry, *, cause: str = "", error: str = "") -> None:
        watches = [*self._tracer.watches(self._serial, Form.FIELDS)]
        if not watches:
            return
        came = datetime.now(UTC) - timedelta(seconds=entry.seconds)
        told = {
            "time": came.isoformat(timespec="microseconds"),
            "token": self._serial,
            **exchange.fields(entry, self._mask.application),
        }
        if not entry.is_reset:
            told |= {"cause": cause or None, "error": error or None}
        for watch in watches:
            watch.put({"exchange": told})
