"""/api/login and after: who one is, API keys, accounts."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import Field

from rhapsode.api.bodies import Answer, Asked
from rhapsode.api.deps import LOGIN_COOKIE, Admin, Cookie, Ctx, CurrentUser, IdempotencyKey
from rhapsode.api.errors import problems
from rhapsode.domain.users import KeyId, Role, UserId
from rhapsode.services import users
from rhapsode.services.idempotency import create_unshown, once

router = APIRouter(tags=["users"])


class Login(Asked):
    """An account's address and password."""

    email: str = Field(max_length=254)
    password: str = Field(max_length=1024)


class UserBody(Answer):
    """An account."""

    id: UUID
    email: str
    role: Role
    created_at: datetime


class NewUser(Asked):
    """An account to make; without a password one is generated and shown this once."""

    email: str = Field(max_length=254)
    role: Role = Role.MEMBER
    password: str | None = Field(None, max_length=1024)


class NewUserBody(UserBody):
    """A new account, and its password if it was generated."""

    password: str | None


class UserList(Answer):
    """All accounts."""

    items: list[UserBody]


class NewKey(Asked):
    """What the API key is for."""

    name: str = Field(min_length=1, max_length=100)


class KeyBody(Answer):
    """An API key, without its secret."""

    id: UUID
    name: str
    created_at: datetime


class NewKeyBody(KeyBody):
    """An API key with its secret, which is shown this once."""

    secret: str


class KeyList(Answer):
    """One's API keys."""

    items: list[KeyBody]


@router.post("/login", responses=problems(401, 422, 503))
async def log_in(request: Request, response: Response, context: Ctx, asked: Login) -> UserBody:
    """Sign in: the answer sets a cookie that scripts cannot read and other sites cannot use."""
    login = await users.log_in(context, asked.email, asked.password)
    response.set_cookie(
        LOGIN_COOKIE,
        login.secret,
        max_age=int(context.rules.login_seconds),
        httponly=True,
        samesite="strict",
        secure=request.app.state.config.is_secure(request.url.scheme),
    )
    return UserBody.model_validate(login.user)


@router.post("/logout", status_code=204, responses=problems(503))
async def log_out(response: Response, context: Ctx, cookie: Cookie) -> None:
    """Sign out; without a login there is nothing to do."""
    if cookie is not None:
        await users.log_out(context, cookie)
    response.delete_cookie(LOGIN_COOKIE, httponly=True, samesite="strict")


@router.get("/me", responses=problems(401, 403, 503))
async def me(user: CurrentUser) -> UserBody:
    """Who one is."""
    return UserBody.model_validate(user)


@router.get("/keys", responses=problems(401, 403, 503))
async def keys(context: Ctx, user: CurrentUser) -> KeyList:
    """One's API keys, newest first."""
    found = await users.keys_of(context, user)
    return KeyList(items=[KeyBody.model_validate(key) for key in found])


@router.post("/keys", status_code=201, responses=problems(401, 403, 409, 422, 503))
async def create_key(
    context: Ctx, user: CurrentUser, asked: NewKey, idempotency_key: IdempotencyKey = None
) -> NewKeyBody:
    """A new API key; its secret is shown this once."""
    wanted = once(user.id, idempotency_key, "POST keys", asked.name)
    new = await create_unshown(
        context, wanted, lambda: users.create_key(context, user, asked.name, request=wanted)
    )
    key = KeyBody.model_validate(new.key)
    return NewKeyBody(**key.model_dump(), secret=new.secret)


@router.delete("/keys/{key_id}", status_code=204, responses=problems(401, 403, 404, 422, 503))
async def delete_key(context: Ctx, user: CurrentUser, key_id: UUID) -> None:
    """Revoke one of one's API keys."""
    await users.delete_key(context, KeyId(key_id), user)


@router.get("/users", responses=problems(401, 403, 503))
async def all_users(context: Ctx, _admin: Admin) -> UserList:
    """All accounts, by address."""
    found = await users.all_users(context)
    return UserList(items=[UserBody.model_validate(user) for user in found])


@router.post("/users", status_code=201, responses=problems(401, 403, 409, 422, 503))
async def create_user(
    context: Ctx, admin: Admin, asked: NewUser, idempotency_key: IdempotencyKey = None
) -> NewUserBody:
    """Make an account."""
    wanted = once(
        admin.id,
        idempotency_key,
        "POST users",
        asked.model_dump_json(exclude={"password"}),  # of which only a slow hash may be kept
    )

    async def create() -> users.NewUser:
        return await users.create(
            context, asked.email, asked.role, asked.password, request=wanted
        )

    new = await create_unshown(context, wanted, create)
    user = UserBody.model_validate(new.user)
    return NewUserBody(**user.model_dump(), password=new.password)


@router.delete(
    "/users/{user_id}", status_code=204, responses=problems(401, 403, 404, 409, 422, 503)
)
async def delete_user(context: Ctx, admin: Admin, user_id: UUID) -> None:
    """Remove an account that owns nothing any more."""
    await users.delete(context, UserId(user_id), actor_id=admin.id)
