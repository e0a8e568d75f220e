"""Writes the C side of PKCS#11: the header, the stubs and the mechanism parameters' layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from generators import HEADER
from generators.pkcs11 import tables

FOLDER = Path("pkcs11_module/native/generated")
WIDTH = 100

# Kind of argument → C types of its members.
TYPES: Mapping[str, Sequence[str]] = {
    "session": ("CK_SESSION_HANDLE ",),
    "ulong": ("CK_ULONG ",),
    "bool": ("CK_BBOOL ",),
    "bytes": ("CK_BYTE *", "CK_ULONG "),
    "label": ("CK_BYTE *",),
    "mechanism": ("CK_MECHANISM *",),
    "template": ("CK_ATTRIBUTE *", "CK_ULONG "),
    "attributes": ("CK_ATTRIBUTE *", "CK_ULONG "),
    "ulong_out": ("CK_ULONG *",),
    "session_out": ("CK_SESSION_HANDLE *",),
    "buffer": ("CK_BYTE *", "CK_ULONG *"),
    "list": ("CK_ULONG *", "CK_ULONG *"),
    "find": ("CK_ULONG *", "CK_ULONG ", "CK_ULONG *"),
    "filled": ("CK_BYTE *", "CK_ULONG "),
    "ignored": ("void *",),
    "null": ("void *",),
}
# Kinds that are written into the answer's place; the others only go out.
OUTPUTS = frozenset(
    {"attributes", "ulong_out", "session_out", "buffer", "list", "find", "filled", "struct"}
)
FIELDS: Mapping[str, str] = {
    "ulong": "CK_ULONG {name};",
    "text": "CK_UTF8CHAR {name}[{size}];",
    "version": "CK_VERSION {name};",
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


def _split(argument: str) -> tuple[str, str, list[str]]:
    """Kind, structure ("" but for kind struct) and C members of an argument."""
    kind, *members = argument.split()
    return (kind, members[0], members[1:]) if kind == "struct" else (kind, "", members)


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
    for parameter in spec["mechanisms"]["parameter"]:
        yield "typedef struct {"
        yield from (f"    {member};" for member in parameter["layout"])
        yield f"}} {parameter['struct']};\n"
    yield "typedef struct CK_FUNCTION_LIST CK_FUNCTION_LIST;\n"
    functions = spec["functions"]["function"]
    for function in functions:
        yield from _prototype("CK_EXPORT CK_RV ", function, ";")
    yield "\nstruct CK_FUNCTION_LIST {\n    CK_VERSION version;"
    for function in functions:
        types = ", ".join(part.rstrip() for part in _parameter_types(function))
        yield from _wrapped(f"    CK_RV (*{function['name']})(", types, ");")
    yield "};\n\n#endif"


def _parameter_types(function: Mapping[str, Any]) -> Iterator[str]:
    if function["name"] == "C_GetFunctionList":
        yield "CK_FUNCTION_LIST **"
        return
    for argument in function["args"]:
        kind, struct, _ = _split(argument)
        yield from (f"{struct} *",) if kind == "struct" else TYPES[kind]


def _prototype(start: str, function: Mapping[str, Any], ending: str) -> Iterator[str]:
    members = [member for argument in function["args"] for member in _split(argument)[2]]
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
    yield '#include "../marshal.h"\n#include "../module.h"\n'
    for name, fields in spec["functions"]["structs"].items():
        yield from _struct_reader(name, fields)
    functions = spec["functions"]["function"]
    for number, function in enumerate(functions):
        local = function.get("local")
        if local == "hand":
            continue
        yield from _prototype("CK_RV ", function, "")
        yield "{"
        yield from _refusal(function, local) if local else _stub(number, function)
        yield "}\n"
    yield "static const CK_FUNCTION_LIST FUNCTIONS = {\n    {2, 40},"
    yield from (f"    {function['name']}," for function in functions)
    yield "};\n\nconst CK_FUNCTION_LIST *module_functions(void)\n{\n    return &FUNCTIONS;\n}"


def _refusal(function: Mapping[str, Any], rv: str) -> Iterator[str]:
    for argument in function["args"]:
        yield from (f"    (void)({member});" for member in _split(argument)[2])
    yield f"    return module_is_up() ? {rv} : CKR_CRYPTOKI_NOT_INITIALIZED;"


def _stub(number: int, function: Mapping[str, Any]) -> Iterator[str]:
    arguments = [_split(argument) for argument in function["args"]]
    flags = [f"CALL_{name.upper()}" for name in ("retry", "blocking") if function.get(name)]
    yield "    struct call call;\n"
    yield f"    call_begin(&call, {number}, {' | '.join(flags) or '0'});"
    for kind, _, members in arguments:
        if kind == "ignored":
            yield f"    (void)({members[0]});"
            continue
        put = "place" if kind in ("struct", "ulong_out", "session_out") else kind
        yield f"    put_{put}(&call, {', '.join(members)});"
    results = [argument for argument in arguments if argument[0] in OUTPUTS]
    if not results:
        yield "    call_run(&call);"
        yield "    return call_end(&call);"
        return
    yield "    if (call_run(&call)) {"
    for kind, struct, members in results:
        yield f"        get_{struct or kind}(&call, {', '.join(members)});"
    yield "    }"
    yield "    return call_end(&call);"


def _struct_reader(name: str, fields: Sequence[str]) -> Iterator[str]:
    yield f"static void get_{name}(struct call *call, {name} *out)\n{{"
    for kind, member, *size in map(str.split, fields):
        target = f"out->{member}" if kind == "text" else f"&out->{member}"
        reader = "ulong_out" if kind == "ulong" else kind
        yield f"    get_{reader}(call, {', '.join([target, *size])});"
    yield "}\n"


def _parameters(spec: Mapping[str, Any]) -> Iterator[str]:
    yield '#include "../marshal.h"\n'
    yield "#include <stddef.h>\n"
    kinds = {"ulong": "FIELD_ULONG", "bool": "FIELD_BOOL", "bytes": "FIELD_BYTES"}
    for entry in spec["mechanisms"]["parameter"]:
        struct = entry["struct"]
        yield f"static const struct field {struct.lower()}[] = {{"
        for field in entry["fields"]:
            offsets = [f"offsetof({struct}, {field['member']})", "0"]
            if "length" in field:
                offsets[1] = f"offsetof({struct}, {field['length']})"
            yield f"    {{{kinds[field['kind']]}, {', '.join(offsets)}}},"
        yield "};\n"
    yield "static const struct parameter PARAMETERS[] = {"
    for entry in spec["mechanisms"]["parameter"]:
        struct, fields = entry["struct"], len(entry["fields"])
        for name in entry["mechanisms"]:
            yield f"    {{{name}, sizeof({struct}), {struct.lower()}, {fields}}},"
    yield "};\n"
    yield "const struct parameter *parameter_of(CK_ULONG mechanism)\n{"
    yield "    for (size_t i = 0; i < sizeof PARAMETERS / sizeof PARAMETERS[0]; i++)"
    yield "        if (PARAMETERS[i].mechanism == mechanism)"
    yield "            return &PARAMETERS[i];"
    yield "    return NULL;\n}"
