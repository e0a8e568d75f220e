"""Writes the C side of PKCS#11: the header, the stubs and the mechanism parameters' layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from generators import HEADER
from generators.pkcs11 import EXTENSION, FLAGS, split, tables, version

FOLDER = Path("pkcs11_module/native/generated")
WIDTH = 100

# Kind of argument → C types of its members.
TYPES: Mapping[str, Sequence[str]] = {
    "session": ("CK_SESSION_HANDLE ",),
    "ulong": ("CK_ULONG ",),
    "bool": ("CK_BBOOL ",),
    "bytes": ("CK_BYTE *", "CK_ULONG "),
    "optional": ("CK_BYTE *", "CK_ULONG "),
    "label": ("CK_BYTE *",),
    "mechanism": ("CK_MECHANISM *",),
    "init": ("CK_MECHANISM *",),
    "message": ("void *", "CK_ULONG "),
    "message_in": ("void *", "CK_ULONG "),
    "message_init": ("CK_MECHANISM *",),
    "wrapping": ("CK_MECHANISM *",),
    "unwrapping": ("CK_MECHANISM *",),
    "template": ("CK_ATTRIBUTE *", "CK_ULONG "),
    "attributes": ("CK_ATTRIBUTE *", "CK_ULONG "),
    "ulong_out": ("CK_ULONG *",),
    "session_out": ("CK_SESSION_HANDLE *",),
    "made": ("CK_ULONG *",),
    "buffer": ("CK_BYTE *", "CK_ULONG *"),
    "last": ("CK_BYTE *", "CK_ULONG *"),
    "list": ("CK_ULONG *", "CK_ULONG *"),
    "find": ("CK_ULONG *", "CK_ULONG ", "CK_ULONG *"),
    "filled": ("CK_BYTE *", "CK_ULONG "),
    "ignored": ("void *",),
    "null": ("void *",),
}
# Kinds that are written into the answer's place; the others only go out.
OUTPUTS = frozenset(
    {
        "attributes",
        "ulong_out",
        "session_out",
        "made",
        "buffer",
        "last",
        "list",
        "find",
        "filled",
        "struct",
        "message",
        "wrapping",
    }
)
FIELDS: Mapping[str, str] = {
    "ulong": "CK_ULONG {name};",
    "text": "CK_UTF8CHAR {name}[{size}];",
    "version": "CK_VERSION {name};",
    "octets": "CK_BYTE {name}[{size}];",
    "size": "CK_ULONG {name};",
}
READERS: Mapping[str, str] = {"ulong": "ulong_out", "octets": "text"}
# What the library itself has to know of a call.
CALLED = frozenset({"retry", "blocking", "ends"})
# The lists of functions: the version that each tells, and those of the functions that it holds.
LISTS: Mapping[str, tuple[tuple[int, int], Callable[[tuple[int, int]], bool]]] = {
    "CK_FUNCTION_LIST": ((2, 40), (2, 40).__ge__),
    "CK_FUNCTION_LIST_3_0": ((3, 0), (3, 0).__ge__),
    "CK_FUNCTION_LIST_3_2": ((3, 2), (3, 2).__ge__),
    "CK_FUNCTION_LIST_EXTENDED": ((2, 40), EXTENSION.__eq__),
}
# The only constants that the C sources and their tests use.
GROUPS = ("CK", "CKU", "CKS", "CKO", "CKK", "CKA", "CKF", "CKG", "CKZ", "CKD")


def outputs(spec_dir: Path) -> dict[Path, str]:
    """Generated files by their path from the root of the project."""
    spec = tables(spec_dir)
    writers = {"cryptoki.h": _header, "stubs.c": _stubs, "parameters.c": _parameters}
    return {
        FOLDER / name: "\n".join((f"/* {HEADER.format(sources='spec/pkcs11')} */", *write(spec)))
        + "\n"
        for name, write in writers.items()
    }


def _header(spec: Mapping[str, Any]) -> Iterator[str]:
    yield "#ifndef KLYUCH_CRYPTOKI_H\n#define KLYUCH_CRYPTOKI_H\n"
    yield '#include "../types.h"\n'
    groups = [spec["constants"][name] for name in GROUPS]
    for values in (*groups, spec["mechanisms"]["mechanisms"], spec["errors"]["return_values"]):
        yield from (f"#define {name} 0x{value:X}UL" for name, value in values.items())
        yield ""
    for name, fields in spec["functions"]["structs"].items():
        yield "typedef struct {"
        for kind, member, *size in map(str.split, fields):
            yield "    " + FIELDS[kind].format(name=member, size="".join(size))
        yield f"}} {name};\n"
    for parameter in _parameters_of(spec):
        yield "typedef struct {"
        yield from (f"    {member};" for member in parameter["layout"])
        yield f"}} {parameter['struct']};\n"
    yield from (f"typedef struct {name} {name};" for name in LISTS)
    yield ""
    functions = spec["functions"]["function"]
    for function in functions:
        yield from _prototype("CK_EXPORT CK_RV ", function, ";")
    for name, (_, holds) in LISTS.items():
        yield f"\nstruct {name} {{\n    CK_VERSION version;"
        for function in functions:
            if holds(version(function)):
                types = ", ".join(part.rstrip() for part in _parameter_types(function))
                yield from _wrapped(f"    CK_RV (*{function['name']})(", types, ");")
        yield "};"
    yield "\n#endif"


def _parameters_of(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    mechanisms = spec["mechanisms"]
    return [*mechanisms["parameter"], mechanisms["message"]]


def _parameter_types(function: Mapping[str, Any]) -> Iterator[str]:
    for argument in function["args"]:
        kind, qualifier, _ = split(argument)
        if kind == "struct":
            yield f"{qualifier} *"
        elif kind == "ignored" and qualifier:
            yield qualifier
        else:
            yield from TYPES[kind]


def _prototype(start: str, function: Mapping[str, Any], ending: str) -> Iterator[str]:
    members = [member for argument in function["args"] for member in split(argument)[2]]
    types = _parameter_types(function)
    parameters = ", ".join(kind + name for kind, name in zip(types, members, strict=True))
    yield from _wrapped(f"{start}{function['name']}(", parameters, f"){ending}")


def _wrapped(start: str, words: str, ending: str) -> Iterator[str]:
    """`start` and comma-separated words on as many lines as the width asks for."""
    line = start
    indent = " " * (len(start) - len(start.lstrip()) + 4)
    for word in words.split(", "):
        item = word + ", "
        if len(line) + len(word) + 2 > WIDTH:
            yield line.rstrip()
            line = indent
        line += item
    yield line.removesuffix(", ") + ending


def _stubs(spec: Mapping[str, Any]) -> Iterator[str]:
    yield '#include "../marshal.h"\n#include "../module.h"\n\n#include <stddef.h>\n'
    for name, fields in spec["functions"]["structs"].items():
        yield from _struct_reader(name, fields)
    functions, sized = spec["functions"]["function"], _sized(spec)
    for number, function in enumerate(functions):
        local = function.get("local")
        if local == "hand":
            continue
        yield from _prototype("CK_RV ", function, "")
        yield "{"
        yield from _refusal(function, local) if local else _stub(number, function, sized)
        yield "}\n"
    for name, (told, holds) in LISTS.items():
        major, minor = told
        yield f"const {name} {name.removeprefix('CK_')} = {{\n    {{{major}, {minor}}},"
        for function in functions:
            if holds(version(function)):
                yield f"    {_listed(function['name'], told)},"
        yield "};\n"


def _listed(name: str, last: tuple[int, int]) -> str:
    """What stands in a list for a function: C_GetInfo tells the version of its own list."""
    major, minor = last
    return f"module_info_{major}_{minor}" if name == "C_GetInfo" and major > 2 else name


def _refusal(function: Mapping[str, Any], rv: str) -> Iterator[str]:
    for argument in function["args"]:
        yield from (f"    (void)({member});" for member in split(argument)[2])
    yield f"    return module_is_up() ? {rv} : CKR_CRYPTOKI_NOT_INITIALIZED;"


def _sized(spec: Mapping[str, Any]) -> dict[str, str]:
    """The structures whose caller tells their size, and the least that it has to be."""
    found = {}
    for name, fields in spec["functions"]["structs"].items():
        kind, _, *rest = fields[0].split()
        if kind == "size":
            found[name] = f"offsetof({name}, {rest[0]}) + sizeof(CK_ULONG)"
    return found


def _stub(number: int, function: Mapping[str, Any], sized: Mapping[str, str]) -> Iterator[str]:
    arguments = [split(argument) for argument in function["args"]]
    flags = list(_flags(function, arguments))
    yield "    struct call call;\n"
    yield f"    call_begin(&call, {number}, {' | '.join(flags) or '0'});"
    for kind, qualifier, members in arguments:
        if kind == "ignored":
            yield f"    (void)({members[0]});"
            continue
        if qualifier in sized:
            yield f"    put_sized(&call, {members[0]}, {sized[qualifier]});"
            continue
        put = "place" if kind in ("struct", "ulong_out", "session_out") else kind
        words = [*members, qualifier] if kind == "made" else members
        yield f"    put_{put}(&call, {', '.join(words)});"
    results = [argument for argument in arguments if argument[0] in OUTPUTS]
    if not results:
        yield "    call_run(&call);"
        yield "    return call_end(&call);"
        return
    yield "    if (call_run(&call)) {"
    for kind, qualifier, members in results:
        words = [*members, qualifier] if kind == "made" else members
        yield f"        get_{qualifier if kind == 'struct' else kind}(&call, {', '.join(words)});"
    yield "    }"
    yield "    return call_end(&call);"


def _flags(
    function: Mapping[str, Any], arguments: Sequence[tuple[str, str, list[str]]]
) -> Iterator[str]:
    """What call_begin is told of a call."""
    yield from (f"CALL_{name.upper()}" for name in FLAGS if function.get(name) and name in CALLED)
    if "asks" in function:
        yield f"({function['asks']} == NULL ? CALL_BLOCKING : 0)"
    effects, kinds = function["effects"], [kind for kind, _, _ in arguments]
    if not function["calm"]:
        yield "CALL_CHANGES"
    if effects.begins is not None:
        yield f"CALL_BEGINS({effects.begins})"
        if {"init"} < set(kinds) <= {"session", "init", "ulong"}:
            yield "CALL_PROMISES"
    if effects.finishes is not None:
        finishes = f"CALL_FINISHES({effects.finishes})"
        # Where only the length is asked for, nothing is finished.
        places = [members[0] for kind, _, members in arguments if kind == "buffer"]
        yield f"({places[0]} == NULL ? 0 : {finishes})" if places else finishes


def _struct_reader(name: str, fields: Sequence[str]) -> Iterator[str]:
    kinds = [field.split()[0] for field in fields]
    is_sized = "size" in kinds
    yield f"static void get_{name}(struct call *call, {name} *{'place' if is_sized else 'out'})\n{{"
    if is_sized:
        yield f"    {name} whole, *out = &whole;\n"
    for kind, member, *size in map(str.split, fields):
        if kind == "size":
            continue
        target = f"out->{member}" if size else f"&out->{member}"
        yield f"    get_{READERS.get(kind, kind)}(call, {', '.join([target, *size])});"
    if is_sized:
        yield "    get_sized(call, place, &whole, sizeof whole);"
    yield "}\n"


def _parameters(spec: Mapping[str, Any]) -> Iterator[str]:
    yield '#include "../marshal.h"\n'
    yield "#include <stddef.h>\n"
    for entry in _parameters_of(spec):
        yield f"static const struct field {entry['struct'].lower()}[] = {{"
        for field in entry["fields"]:
            written = field["member"] in entry.get("writes", ())
            yield f"    {{{', '.join(_field(entry['struct'], field, written))}}},"
        yield "};\n"
    message = spec["mechanisms"]["message"]
    struct = message["struct"]
    words = [*message["mechanisms"], f"sizeof({struct})", struct.lower(), len(message["fields"])]
    words.append("false")
    yield f"const struct parameter MESSAGE = {{{', '.join(map(str, words))}}};\n"
    yield "static const struct parameter PARAMETERS[] = {"
    for entry in spec["mechanisms"]["parameter"]:
        struct, fields = entry["struct"], len(entry["fields"])
        for name in entry["mechanisms"]:
            flat = str(entry.get("flat", False)).lower()
            yield f"    {{{name}, sizeof({struct}), {struct.lower()}, {fields}, {flat}}},"
    yield "};\n"
    yield "const struct parameter *parameter_of(CK_ULONG mechanism)\n{"
    yield "    for (size_t i = 0; i < sizeof PARAMETERS / sizeof PARAMETERS[0]; i++)"
    yield "        if (PARAMETERS[i].mechanism == mechanism)"
    yield "            return &PARAMETERS[i];"
    yield "    return NULL;\n}\n"
    yield "bool is_nested(CK_ULONG type)\n{\n    switch (type) {"
    yield from (f"    case {name}:" for name in spec["functions"]["nested"])
    yield "        return true;\n    default:\n        return false;\n    }\n}"


def _field(struct: str, field: Mapping[str, Any], written: bool) -> Iterator[str]:
    yield f"FIELD_{field['kind'].upper()}"
    yield f"offsetof({struct}, {field['member']})"
    yield f"offsetof({struct}, {field['length']})" if "length" in field else "0"
    yield str(field.get("size", field.get("most", 0)))
    yield "true" if written else "false"
