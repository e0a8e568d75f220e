"""The version of this installation."""

from functools import cache


@cache
def version() -> str:
    """As the package's metadata has it."""
    from importlib import metadata  # noqa: PLC0415  costs 40 ms, and few commands need it

    return metadata.version("klyuch")
