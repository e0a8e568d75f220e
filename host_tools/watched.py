"""An interface whose APDUs somebody watches: decoded for people, and for a recording."""

from dataclasses import replace

from apdu.model import APPLICATIONS
from apdu.recording import Entry, Mask, Recorder
from apdu.trace import Trace
from host_tools.tracing import Tracer
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
        self._recorder = Recorder(trace, self._keep, Mask(application), door)

    def transceive(self, command: bytes) -> bytes:
        return self._recorder.transceive(command)

    def was_reset(self) -> None:
        """Tell that the interface was reset."""
        self._recorder.was_reset()

    def _tell(self, line: str) -> None:
        for watch in self._tracer.watches(self._serial):
            if not watch.recording:
                watch.put({"line": line})

    def _keep(self, entry: Entry) -> None:
        for watch in self._tracer.watches(self._serial):
            if watch.recording:
                watch.put({"entry": replace(entry, at=entry.at - watch.began).line()})
