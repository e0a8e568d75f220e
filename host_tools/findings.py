"""A line of the doctor's report."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at and what was found; not `ok` is a fault.

    `mend` is the command that helps; where all is ok, the one that brings what is not there.
    """

    what: str
    ok: bool
    found: str
    mend: str = ""
