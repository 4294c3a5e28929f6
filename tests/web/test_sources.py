"""The page's own tests and checks, and what its build must keep to."""

import gzip
import subprocess

import pytest
from scripts import api_types, build_web

from rhapsode.api.page import STATIC

MOST_SCRIPT_BYTES = 250_000


@pytest.mark.parametrize("task", ["test", "check", "format:check"])
def test_the_sources_pass_their_own_checks(task: str) -> None:
    node = build_web.find_node()
    build_web.install_packages(node)
    done = subprocess.run(
        [*node.npm, "run", task],
        cwd=build_web.WEB,
        env=node.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_api_types_are_those_of_the_api() -> None:
    assert api_types.is_current()


def test_the_lock_file_names_no_address() -> None:
    assert "://" not in (build_web.WEB / "package-lock.json").read_text()


def test_the_script_is_small() -> None:
    scripts = list((STATIC / "assets").glob("*.js"))
    assert scripts
    packed = sum(len(gzip.compress(script.read_bytes())) for script in scripts)
    assert packed < MOST_SCRIPT_BYTES


def test_the_page_has_nothing_inline() -> None:
    html = (STATIC / "index.html").read_text()
    assert "<style" not in html
    assert " style=" not in html
    assert html.count("<script") == html.count('<script type="module" crossorigin src=')
