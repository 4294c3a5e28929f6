"""Users: accounts, logins and API keys."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.exc import IntegrityError

from rhapsode.database import users as table
from rhapsode.domain.audit import Action, Reason
from rhapsode.domain.errors import Conflict, Denied, Invalid, NotFound
from rhapsode.domain.users import (
    ApiKey,
    KeyId,
    Role,
    User,
    UserId,
    clean_email,
    ensure_label,
    ensure_password,
)
from rhapsode.services import audit, idempotency, secrets
from rhapsode.services.context import Context, new_id, now
from rhapsode.services.idempotency import Once

FIRST_ADMIN_EMAIL = "admin@localhost"


@dataclass(frozen=True, slots=True)
class NewLogin:
    """A login, and the secret for the cookie, which exists nowhere else."""

    user: User
    secret: str


@dataclass(frozen=True, slots=True)
class NewKey:
    """An API key, and its secret, which exists nowhere else."""

    key: ApiKey
    secret: str


@dataclass(frozen=True, slots=True)
class NewUser:
    """An account, and its password if it was generated here."""

    user: User
    password: str | None


async def create(
    context: Context,
    email: str,
    role: Role,
    password: str | None = None,
    *,
    request: Once | None = None,
) -> NewUser:
    """Add an account; without a password one is generated and returned, this once."""
    chosen = secrets.new_password() if password is None else password
    ensure_password(chosen)
    user = User(id=UserId(new_id()), email=clean_email(email), role=role, created_at=now())
    hashed = await secrets.hash_password(chosen)
    try:
        async with context.database.write() as transaction:
            await table.insert(transaction.connection, user, hashed)
            await idempotency.record(transaction, request, user.id)
    except IntegrityError as error:
        raise Conflict(
            "email_taken", f"There is an account for {user.email} already."
        ) from error
    return NewUser(user, chosen if password is None else None)


async def ensure_first_admin(
    context: Context, email: str | None, password: str | None
) -> NewUser | None:
    """On the first start, make the administrator; None if there is one."""
    async with context.database.read() as connection:
        if await table.has_admin(connection):
            return None
    try:
        return await create(context, email or FIRST_ADMIN_EMAIL, Role.ADMIN, password)
    except Conflict as error:
        async with context.database.read() as connection:
            if await table.has_admin(connection):  # another replica was first
                return None
        raise Conflict(
            error.code,
            f"{error.message.removesuffix('.')}, which is no administrator's.",
            hint="Make one with another address: `rhapsode user create EMAIL --role admin`.",
        ) from error


async def all_users(context: Context) -> list[User]:
    """Every account, by address."""
    async with context.database.read() as connection:
        return await table.page(connection)


async def by_email(context: Context, email: str) -> User:
    """One account by address; NotFound if there is none."""
    async with context.database.read() as connection:
        user = await table.by_email(connection, clean_email(email))
    if user is None:
        raise NotFound("user_not_found", f"There is no account for {email}.")
    return user


async def delete(context: Context, user_id: UserId, *, actor_id: UserId | None = None) -> None:
    """Remove an account that owns nothing any more; the last administrator stays.

    `actor_id` is who asked for it; None is the operator, by the command line.
    """
    try:
        async with context.database.write() as transaction:
            if await table.lock_admins(transaction.connection) == {user_id}:
                raise Conflict(
                    "last_admin",
                    "The account is the only administrator's.",
                    hint="Make another one first: `rhapsode user create EMAIL --role admin`.",
                )
            found = await table.delete(transaction.connection, user_id)
            if found:
                await audit.deleted(
                    transaction, Action.USER_DELETED, user_id, Reason.USER, actor_id=actor_id
                )
    except IntegrityError as error:
        raise Conflict(
            "user_owns_media",
            "The account still owns recordings or jobs.",
            hint="Delete its jobs and media first.",
        ) from error
    if not found:
        raise NotFound("user_not_found", "There is no such account.")
    context.recorder.deleted("user", Reason.USER)


async def set_password(context: Context, user_id: UserId, password: str) -> None:
    """Give an account a new password and end its logins."""
    ensure_password(password)
    hashed = await secrets.hash_password(password)
    async with context.database.write() as transaction:
        await table.set_password_hash(transaction.connection, user_id, hashed)
        await table.delete_logins_of(transaction.connection, user_id)


async def log_in(context: Context, email: str, password: str) -> NewLogin:
    """Sign in with a password; Denied tells nothing about which of the two was wrong."""
    user, stored = await _account(context, email)
    if not await secrets.verify_password(stored, password) or user is None:
        raise Denied(
            "wrong_login",
            "The e-mail address or the password is wrong.",
            hint="The first start printed the administrator's; `rhapsode user password` "
            "sets a new one.",
        )
    rehashed = None
    if stored is not None and secrets.needs_rehash(stored):
        rehashed = await secrets.hash_password(password)
    return await _new_login(context, user, rehashed)


async def _account(context: Context, email: str) -> tuple[User | None, str | None]:
    try:
        address = clean_email(email)
    except Invalid:
        return None, None
    async with context.database.read() as connection:
        user = await table.by_email(connection, address)
        return user, await table.password_hash(connection, user.id) if user else None


async def _new_login(context: Context, user: User, rehashed: str | None) -> NewLogin:
    secret = secrets.new_secret(secrets.LOGIN_PREFIX)
    started = now()
    async with context.database.write() as transaction:
        if rehashed is not None:
            await table.set_password_hash(transaction.connection, user.id, rehashed)
        await table.insert_login(
            transaction.connection,
            login_id=new_id(),
            user_id=user.id,
            secret_hash=secrets.hash_secret(secret),
            now=started,
            expires_at=started + timedelta(seconds=context.rules.login_seconds),
        )
    return NewLogin(user, secret)


async def log_out(context: Context, secret: str) -> None:
    """End one login."""
    async with context.database.write() as transaction:
        await table.delete_login(transaction.connection, secrets.hash_secret(secret))


async def by_login(context: Context, secret: str) -> User | None:
    """Whose cookie this is."""
    async with context.database.read() as connection:
        return await table.by_login(connection, secrets.hash_secret(secret), now())


async def by_key(context: Context, secret: str) -> User | None:
    """Whose API key this is."""
    async with context.database.read() as connection:
        return await table.by_key(connection, secrets.hash_secret(secret))


async def create_key(
    context: Context, user: User, name: str, *, request: Once | None = None
) -> NewKey:
    """Give a user a new API key; its secret is returned this once."""
    ensure_label(name)
    secret = secrets.new_secret(secrets.API_KEY_PREFIX)
    key = ApiKey(id=KeyId(new_id()), user_id=user.id, name=name, created_at=now())
    async with context.database.write() as transaction:
        await table.insert_key(transaction.connection, key, secrets.hash_secret(secret))
        await idempotency.record(transaction, request, key.id)
    return NewKey(key, secret)


async def keys_of(context: Context, user: User | None) -> list[ApiKey]:
    """A user's API keys, or everybody's."""
    async with context.database.read() as connection:
        return await table.keys_of(connection, user.id if user else None)


async def delete_key(context: Context, key_id: KeyId, user: User | None) -> None:
    """Revoke a user's API key, or anybody's; NotFound if it is not there."""
    async with context.database.write() as transaction:
        found = await table.delete_key(
            transaction.connection, key_id, user.id if user else None
        )
    if not found:
        raise NotFound("key_not_found", "There is no such API key.")
