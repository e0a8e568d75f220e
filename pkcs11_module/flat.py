"""Structures in one buffer: the fields one after the other, bytes after their length.

Aktiv's wrappers for Java send CK_GOSTR3410_DERIVE_PARAMS of 2012 so, with numbers of 32 bits; those
for .NET declare a structure of arrays, with numbers of 32 or 64 bits. All are little-endian.
"""

from __future__ import annotations

from pkcs11_module import types
from pkcs11_module.model import Kind, Parameter

_WIDTHS = (4, 8)


def read(structure: Parameter, data: bytes) -> object | None:
    """The structure in `data`, whose fields are numbers and bytes; None for anything else."""
    for width in _WIDTHS:
        values, rest = [], data
        for field in structure.fields:
            number, rest = rest[:width], rest[width:]
            value: int | bytes = int.from_bytes(number, "little")
            if len(number) < width:
                break
            if field.kind is Kind.BYTES:
                length = int(value)
                value, rest = rest[:length], rest[length:]
                if len(value) < length:
                    break
            values.append(value)
        if len(values) == len(structure.fields) and not rest:
            made: object = getattr(types, structure.python)(*values)
            return made
    return None
