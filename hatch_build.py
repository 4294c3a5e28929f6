"""Puts the web page into every wheel: hatchling's build hook."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_EDITABLE = "editable"


class WebPageHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the page before a wheel is made; an editable install builds it by `make`."""

    def dependencies(self) -> list[str]:
        """Node from PyPI, on machines that have none and get no page ready-made."""
        script = _build_script(self.root)
        if not _has_sources(self.root) or script.system_node():
            return []
        return [script.NODE_PACKAGE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Build the page; a wheel without one is refused."""
        if version == _EDITABLE:
            return
        script = _build_script(self.root)
        if _has_sources(self.root):
            self._build(script)
        if not script.is_built():
            sys.exit(
                "This wheel would have no web page: there are neither its sources (web/) "
                f"nor a built page ({script.STATIC})."
            )

    def _build(self, script: ModuleType) -> None:
        try:
            script.build()
        except script.BuildError as error:
            if not script.is_built():
                sys.exit(f"The web page could not be built.\n{error}")
            self.app.display_warning(f"The wheel gets an older web page.\n{error}")


def _has_sources(root: str) -> bool:
    return (Path(root) / "web" / "package.json").is_file()


def _build_script(root: str) -> ModuleType:
    path = Path(root) / "scripts" / "build_web.py"
    spec = importlib.util.spec_from_file_location("build_web", path)
    if spec is None or spec.loader is None:
        sys.exit(f"{path} is missing.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module
