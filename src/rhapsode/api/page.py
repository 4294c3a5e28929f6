"""The built web page, and the API's own documentation."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from rhapsode.api.deps import Bearer, Cookie, Ctx, CurrentUser
from rhapsode.services import users

STATIC = Path(__file__).parent / "static"

router = APIRouter(include_in_schema=False)

_NOT_BUILT = """<!doctype html><title>Rhapsode</title>
<h1>Rhapsode</h1><p>The server runs, but this install has no web page:
run <code>make web</code> in the source tree.</p>"""


class Assets(StaticFiles):
    """Files whose name carries their digest: they never change."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file that browsers may keep for good."""
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


@router.get("/")
async def index() -> Response:
    """The page."""
    return _page(STATIC / "index.html")


@router.get("/docs")
async def docs(context: Ctx, bearer: Bearer, cookie: Cookie) -> Response:
    """The API's documentation; who is not signed in is sent to where one signs in."""
    known = (bearer and await users.by_key(context, bearer.credentials)) or (
        cookie and await users.by_login(context, cookie)
    )
    return _page(STATIC / "docs" / "index.html") if known else RedirectResponse("/", 303)


def _page(file: Path) -> Response:
    if not file.exists():
        return HTMLResponse(_NOT_BUILT)
    return FileResponse(file, headers={"cache-control": "no-cache"})


@router.get("/openapi.json")
async def openapi(request: Request, _user: CurrentUser) -> dict[str, Any]:
    """The OpenAPI document."""
    app: FastAPI = request.app
    return app.openapi()


def add_page(app: FastAPI) -> None:
    """Serve the page, if it was built, and the documentation."""
    app.include_router(router)
    if STATIC.exists():
        app.mount("/assets", Assets(directory=STATIC / "assets", check_dir=False))
        app.mount("/", StaticFiles(directory=STATIC))
