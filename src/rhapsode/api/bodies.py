"""What the documents of our own surface have in common."""

from collections.abc import Sequence
from typing import Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T", bound=BaseModel)


class Answer(BaseModel):
    """A document that we send, read off a domain object's attributes."""

    model_config = ConfigDict(from_attributes=True)


class Asked(BaseModel):
    """A document that we receive: a key that we do not know is refused, not ignored."""

    model_config = ConfigDict(extra="forbid")


class Page(BaseModel, Generic[T]):
    """Some items, and the cursor of the next page; None on the last."""

    items: list[T]
    next: UUID | None = Field(None, description="Send it as `cursor` to get the next page.")


def page_of(items: Sequence[T], ids: Sequence[UUID], limit: int) -> Page[T]:
    """A page from up to `limit + 1` items: the one too many tells that there are more."""
    more = len(items) > limit
    return Page(items=list(items[:limit]), next=ids[limit - 1] if more else None)
