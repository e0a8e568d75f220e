"""What can be wrong with keys, signatures and what is signed by them; the text tells a user."""


class PkiError(Exception):
    """Something cannot be read, checked or made; ``hint`` says what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Malformed(PkiError):
    """The bytes are not what they should be."""


class UnknownAlgorithm(PkiError):
    """An algorithm that is not known here, or that does not go with the key."""


class UnusableKey(PkiError):
    """A public or private key that is damaged, or of a kind that is not known here."""


class UnknownKey(UnusableKey):
    """A key of a kind that is not known here; it need not be damaged."""


class BadSignature(PkiError):
    """The signature does not belong to the message and the key."""


class BadName(PkiError):
    """The text is no distinguished name, or a number in it is wrong."""
