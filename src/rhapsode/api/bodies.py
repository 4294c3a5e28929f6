"""What the documents of our own surface have in common."""

import re
from collections.abc import Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator

T = TypeVar("T", bound=BaseModel)


class Answer(BaseModel):
    """A document that we send, read off a domain object's attributes."""

    model_config = ConfigDict(from_attributes=True)


class Asked(BaseModel):
    """A document that we receive: a key that we do not know is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _is_storable(cls, value: Any) -> Any:
        if holds_unstorable(value):
            raise ValueError("holds a NUL or half a surrogate pair, which no text has")
        return value


_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
"""JSON can spell these; PostgreSQL and UTF-8 cannot hold them."""


def holds_unstorable(value: Any) -> bool:
    """Whether some text in a document could not be stored."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if _UNSTORABLE.search(item):
                return True
        elif isinstance(item, dict):
            waiting += [*item, *item.values()]
        elif isinstance(item, list):
            waiting += item
    return False


class Page(BaseModel, Generic[T]):
    """Some items, and the cursor of the next page; None on the last."""

    items: list[T]
    next: UUID | None = Field(None, description="Send it as `cursor` to get the next page.")


def page_of(items: Sequence[T], ids: Sequence[UUID], limit: int) -> Page[T]:
    """A page from up to `limit + 1` items: the one too many tells that there are more."""
    more = len(items) > limit
    return Page(items=list(items[:limit]), next=ids[limit - 1] if more else None)
