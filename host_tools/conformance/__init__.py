"""The same checks for the emulated card and any other: the catalogue's rules and the vectors."""
