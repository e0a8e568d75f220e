"""Cards in the readers of this machine, through PC/SC: any reader, any card."""

from host_tools.readers.pcsc import Reader, ReaderError, ReaderTransport, find_reader, list_readers

__all__ = ["Reader", "ReaderError", "ReaderTransport", "find_reader", "list_readers"]
