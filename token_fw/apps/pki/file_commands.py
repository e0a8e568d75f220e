"""Commands on files: select, read, write, create, delete."""

from __future__ import annotations

from apdu import tlv
from token_fw.apps.pki.commands import (
    DeleteFile,
    ReadBinary,
    Select,
    Target,
    UpdateBinary,
)
from token_fw.apps.pki.files import MF, File, FileKind, FileTemplate, Rule
from token_fw.apps.pki.session import PkiSession
from token_fw.errors import ConditionsNotSatisfied


def select(session: PkiSession, command: Select) -> bytes:
    """Make a file or directory the current one; answers its control parameters if wanted."""
    file = _find(session, command)
    session.select(file)
    return session.fcp(file) if command.answer else b""


def read_binary(session: PkiSession, command: ReadBinary) -> bytes:
    """Read the current file, or the named one, if its rule for reading is met."""
    file = session.data_file(command.fid)
    session.allow(file, Rule.READ)
    if not command.wrapped:
        return session.core.files.read(file, command.offset, command.ne)
    data = session.core.files.read(file, command.offset, _payload(command.ne))
    return tlv.encode(0x53, data)


def update_binary(session: PkiSession, command: UpdateBinary) -> bytes:
    """Write the current file, or the named one, if its rule for updating is met."""
    file = session.data_file(command.fid)
    session.allow(file, Rule.UPDATE)
    session.core.files.write(file, command.offset, command.data, command.size)
    return b""


def create_file(session: PkiSession, template: FileTemplate) -> bytes:
    """Make a file in the current directory, if its rule is met, and select it."""
    parent = session.current_df()
    is_df = template.kind is FileKind.DF
    session.allow(parent, Rule.CREATE_DF if is_df else Rule.CREATE_EF)
    file = session.core.files.create(parent, template)
    session.core.transaction.after(lambda: session.select(file))
    return b""


def delete_file(session: PkiSession, command: DeleteFile) -> bytes:
    """The file must allow it, and so must its directory."""
    files = session.core.files
    file = session.child(command.fid) if command.fid else session.current()
    if file.path == MF:
        raise ConditionsNotSatisfied("the master file cannot be deleted")
    parent = files.find(file.parent)
    session.allow(file, Rule.DELETE_SELF)
    session.allow(parent, Rule.DELETE_CHILD)
    files.delete(file)
    if not command.fid:
        session.core.transaction.after(lambda: session.select(parent))
    return b""


def _find(session: PkiSession, command: Select) -> File:
    files = session.core.files
    if command.target is Target.FID:
        return session.by_identifier(command.value)
    if command.target is Target.NAME:
        return files.find_name(command.value)
    base = MF if command.target is Target.PATH_FROM_MF else session.current_df().path
    return files.find(base + command.value)


def _payload(ne: int) -> int:
    """How many bytes of content fit, with the tag and length of DO 53, in `ne` bytes."""
    for header, longest in ((2, 0x7F), (3, 0xFF), (4, 0xFFFF)):
        if ne - header <= longest:
            return max(ne - header, 0)
    return ne - 5
