"""From JSON to the domain's dataclasses."""

from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from rhapsode.client.problems import unreadable

T = TypeVar("T")
_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def decode(kind: type[T], document: Any) -> T:
    """The document as this dataclass; fields that this version does not know are ignored.

    ServerFault where it does not fit.
    """
    try:
        return cast("T", _adapter(kind).validate_python(document))
    except ValidationError as error:
        places = ", ".join(".".join(map(str, item["loc"])) for item in error.errors()[:5])
        name = getattr(kind, "__name__", kind)
        message = f"The server's {name} cannot be read (at {places or 'its root'})."
        raise unreadable(message) from error


def encode(value: Any) -> Any:
    """A dataclass as JSON values."""
    return _adapter(type(value)).dump_python(value, mode="json")


def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Made once a type: building one costs milliseconds."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]
