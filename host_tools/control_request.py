"""One request at the control door, its fields checked."""

from dataclasses import dataclass

from host_tools.control import ControlError, ErrorCode, Json


@dataclass(frozen=True, slots=True)
class Request:
    """A request's fields with their types checked. Every getter raises ControlError."""

    fields: Json

    def text(self, name: str, default: str | None = None) -> str:
        value = self.fields.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise ControlError(ErrorCode.BAD_REQUEST, f"{name!r} must be a text.")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            message = f"The {name.replace('_', ' ')} is not valid UTF-8."
            raise ControlError(ErrorCode.BAD_REQUEST, message) from error
        return value

    def secret(self, name: str) -> bytes | None:
        value = self.fields.get(name)
        return None if value is None else self.text(name).encode()

    def flag(self, name: str) -> bool:
        return self.fields.get(name) is True

    def number(self, name: str, default: int, low: int, high: int) -> int:
        value = self.fields.get(name, default)
        if not isinstance(value, int) or not low <= value <= high:
            raise ControlError(ErrorCode.BAD_REQUEST, f"{name!r} must be {low} to {high}.")
        return value
