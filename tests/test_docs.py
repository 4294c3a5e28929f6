"""The documentation: its links lead somewhere, its examples work, and it leaves nothing out."""

import ast
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from scripts.generate_docs import commands

from rhapsode.bootstrap import openapi
from rhapsode.settings import load
from rhapsode.telemetry import create_metrics
from tests.support.server import running_server, settings_for
from tests.support.speech import models_folder, sample

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    path
    for path in [*DOCS.rglob("*.md"), *(ROOT / f"{n}.md" for n in ("README", "CONTRIBUTING"))]
    if path.is_file()
)
IDS = [str(path.relative_to(ROOT)) for path in PAGES]
every_page = pytest.mark.parametrize("page", PAGES, ids=IDS)

TROUBLESHOOT = DOCS / "how-to" / "troubleshoot.md"
MONITOR = DOCS / "how-to" / "monitor.md"
API = DOCS / "how-to" / "api.md"
LOUDNESS = DOCS / "examples" / "loudness"


_FENCED = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^(?P=indent)```",
    re.DOTALL | re.MULTILINE,
)
SHELL = ("bash", "sh", "console")


def blocks(page: Path, *languages: str) -> list[str]:
    """The code blocks of a page in these languages."""
    return [
        dedent(block["body"])
        for block in _FENCED.finditer(page.read_text())
        if block["language"] in languages
    ]


def prose(page: Path) -> str:
    return _FENCED.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The ids that MkDocs gives to a page's headings."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", title.lower()) for title in titles)
    return {re.sub(r"[\s-]+", "-", title.strip()) for title in plain}


@every_page
def test_its_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_every_page_is_in_the_table_of_contents() -> None:
    contents = (ROOT / "mkdocs.yml").read_text()
    listed = set(re.findall(r"[\w./-]+\.md", contents.partition("\nnav:")[2]))
    assert listed == {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}


VARIABLES = {
    "HOST": "speech.example.org",
    "DB_USER": "rhapsode",
    "DB_PASSWORD": "secret",
    "S3_SECRET": "secret",
}


@every_page
def test_its_settings_load(page: Path, tmp_path: Path) -> None:
    secret = tmp_path / "s3-secret"
    secret.write_text("a long enough secret")
    for body in blocks(page, "yaml"):
        config = tmp_path / "config.yml"
        config.write_text(body.replace("/run/secrets/admin", str(secret)))
        load(config, environ=VARIABLES)


@every_page
def test_its_shell_commands_parse(page: Path) -> None:
    for body in blocks(page, *SHELL):
        checked = subprocess.run(["bash", "-n"], input=body, capture_output=True, text=True)
        assert checked.stderr == ""


@every_page
def test_its_json_and_python_are_such(page: Path) -> None:
    for body in blocks(page, "json"):
        json.loads(body)
    for body in blocks(page, "python"):
        compile(body, str(page), "exec")


OPTIONS = {
    path: {name for parameter in command.params for name in parameter.opts}
    | {name for parameter in command.params for name in parameter.secondary_opts}
    for path, command in commands()
}
IN_SHELL = re.compile(r"(?:^|\$\(|/bin/|=\S+ )rhapsode ([a-z].*)", re.MULTILINE)
IN_PROSE = re.compile(r"`rhapsode ([a-z][^`]*)`")
_GLOBAL = {"--help", "-h"}


def mentioned(page: Path) -> Iterator[str]:
    """What stands after `rhapsode` in the commands of a page."""
    for body in blocks(page, *SHELL, "ini"):
        for line in IN_SHELL.findall(body.replace("\\\n", " ")):
            yield re.split(r"[|>)#;&]| 2>", line)[0]
    yield from IN_PROSE.findall(prose(page).replace("\n", " "))


@every_page
def test_its_commands_and_their_options_exist(page: Path) -> None:
    wrong = []
    for line in mentioned(page):
        words = line.split()
        path = next(
            (" ".join(("rhapsode", *words[:n])) for n in (2, 1) if _is(words[:n])), None
        )
        given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        if path is None or given - OPTIONS.get(path, given) - _GLOBAL:
            wrong.append(line)
    assert wrong == []


def _is(words: list[str]) -> bool:
    path = " ".join(("rhapsode", *words))
    return path in OPTIONS or any(known.startswith(f"{path} ") for known in OPTIONS)


@every_page
def test_its_routes_exist(page: Path) -> None:
    known = [re.sub(r"\{\w+\}", "[^/]+", route) for route in openapi()["paths"]]
    found = re.findall(r"(/api/[\w/{}-]+|/healthz|/ready|/metrics)\b", page.read_text())
    strange = {route for route in found if not any(re.fullmatch(k, route) for k in known)}
    assert strange == set()


def test_every_route_is_in_the_reference() -> None:
    text = "".join(p.read_text() for p in (DOCS / "reference" / "api.md", MONITOR))
    missing = [
        f"{method.upper()} {route}"
        for route, methods in openapi()["paths"].items()
        for method in methods
        if route.startswith("/api/")
        and not re.search(rf"{method.upper()} {re.escape(route)}`", text)
    ]
    assert missing == []


def test_every_metric_is_documented() -> None:
    samples = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in create_metrics().registry.collect()
        if family.name.startswith("rhapsode_")
    }
    assert (
        set(re.findall(r"^\| `(rhapsode_\w+)`", MONITOR.read_text(), re.MULTILINE)) == samples
    )


CODE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
ERRORS = {"NotFound", "Conflict", "Invalid", "Denied", "Limited", "Unavailable"}


def _trees() -> list[ast.Module]:
    return [ast.parse(path.read_text()) for path in (ROOT / "src").rglob("*.py")]


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def error_codes() -> set[str]:
    """Every code by which the product refuses something or tells of a failure."""
    classes = [n for tree in _trees() for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    errors = set(ERRORS)
    for _ in range(3):
        errors |= {c.name for c in classes if errors & {_name(base) for base in c.bases}}
    found: set[str] = set()
    for tree in _trees():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            found |= _codes_in(call, errors)
        for node in (node for node in ast.walk(tree) if isinstance(node, ast.Assign)):
            if _name(node.targets[0]) == "_CODES" and isinstance(node.value, ast.Dict):
                found |= _codes(node.value.values)
    own = [c for c in classes if c.name in errors]
    for call in (n for c in own for n in ast.walk(c) if isinstance(n, ast.Call)):
        if _name(call.func) == "__init__":
            found |= _codes(call.args[:1])
    return found


def _codes_in(call: ast.Call, errors: set[str]) -> set[str]:
    name = _name(call.func)
    if name in errors or name in {"JobError", "_chosen", "made"}:
        return _codes(call.args[:1])
    if name == "Failed":
        return _codes(call.args[1:2])
    return _codes(call.args[3:4]) if name == "_answer" else set()


def _codes(arguments: list[ast.expr]) -> set[str]:
    values = [a.value for a in arguments if isinstance(a, ast.Constant)]
    return {v for v in values if isinstance(v, str) and CODE.fullmatch(v)}


# Codes made of an HTTP status: `http_502`, and the names of those that the framework answers.
_BY_STATUS = {"http_502", "not_found", "method_not_allowed"}


def test_every_error_code_is_explained_and_no_other() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|", TROUBLESHOOT.read_text(), re.MULTILINE)
    explained = {code for row in rows for code in re.findall(r"`(\w+)`", row)}
    assert explained - _BY_STATUS == error_codes()


def _direct_dependencies() -> set[str]:
    import tomllib

    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = document["project"]
    groups = [
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *document["dependency-groups"].values(),
        document["build-system"]["requires"],
    ]
    names = (re.match(r"[\w.-]+", item) for group in groups for item in group)
    page = json.loads((ROOT / "web" / "package.json").read_text())
    packages = {**page.get("dependencies", {}), **page.get("devDependencies", {})}
    return {name[0] for name in names if name} | set(packages)


def test_every_direct_dependency_is_accounted_for_and_no_other() -> None:
    text = (DOCS / "dependencies.md").read_text()
    listed = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert sorted(listed) == sorted(_direct_dependencies())


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the example of a plug-in is installed."""
    folder = tmp_path_factory.mktemp("plugins")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist"],
        cwd=LOUDNESS,
        check=True,
        capture_output=True,
    )
    (wheel,) = (folder / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


_PLUGIN_AT_WORK = """
import json, sys
from pathlib import Path
from rhapsode.domain.jobs import JobSpec
from rhapsode.engines import pipeline, registry
from rhapsode.engines.base import LoadSettings
from rhapsode.runner.capabilities import own_models

engine = registry.get("loudness")
loaded = engine.load(Path("unused"), LoadSettings())
spec = JobSpec(engine="loudness", model=own_models(engine)[0])
result = pipeline.run(Path(sys.argv[1]), spec, loaded, lambda _: None, lambda: False)
json.dump(result.transcript.to_dict(), sys.stdout)
"""


def test_the_example_of_an_engine_works(plugins: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PLUGIN_AT_WORK, sample("jfk")],
        env={**os.environ, "PYTHONPATH": str(plugins)},
        check=True,
        capture_output=True,
        text=True,
    )
    transcript = json.loads(done.stdout)
    assert transcript["language"] == "und"
    assert len(transcript["segments"]) > 5
    assert all(re.fullmatch(r"-?\d+ dB", s["text"]) for s in transcript["segments"])


def test_the_example_of_an_engine_passes_the_conformance_suite(plugins: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", LOUDNESS],
        env={**os.environ, "PYTHONPATH": str(plugins), "SPEECH": str(sample("jfk"))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b2\d passed", done.stdout), done.stdout


def test_the_page_shows_the_examples_suite() -> None:
    program = (LOUDNESS / "test_loudness.py").read_text()
    program = re.sub(r'^ *""".*"""\n\n?', "", program, flags=re.MULTILINE)
    page = DOCS / "contributing" / "engines.md"
    shown = [block for block in blocks(page, "python") if "EngineConformance" in block]
    assert [block.strip() in program for block in shown] == [True]


def test_the_example_of_a_client_works(tmp_path: Path) -> None:
    settings = settings_for(
        tmp_path, runner={"enabled": True}, models={"folder": models_folder()}
    )
    program = tmp_path / "client.py"
    program.write_text(blocks(API, "python")[0])
    with running_server(settings, tmp_path) as server:
        secrets = {
            "RHAPSODE_SERVER": server.url,
            "RHAPSODE_API_KEY": server.secret("--api-key", "docs"),
        }
        done = subprocess.run(
            [sys.executable, program, sample("jfk"), "tiny.en"],
            env={**os.environ, **secrets},
            check=True,
            capture_output=True,
            text=True,
        )
    assert "country" in done.stdout
