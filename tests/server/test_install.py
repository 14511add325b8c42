"""`pip install nemotron-asr[server]` brings all that the server imports."""

import ast
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import nemotron_asr

PACKAGE = Path(nemotron_asr.__file__).parent
PROJECT = Path(__file__).parents[2] / "pyproject.toml"
OPTIONAL = {"opentelemetry"}
"""What is imported only if an extra of its own is installed."""


def imported() -> set[str]:
    """Modules of others that the server imports, and what puts load on one."""
    files = [*PACKAGE.glob("server/**/*.py"), *(PACKAGE / "benchmark" / f"{name}.py" for name in ("lines", "load"))]
    names = set[str]()
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"nemotron_asr"} - OPTIONAL


def brought() -> set[str]:
    """Distributions that the extra installs, with those that they need."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["server"]]
    found = set[str]()
    while asked:
        requirement = Requirement(asked.pop())
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        try:
            asked += requires(name) or []
        except PackageNotFoundError:  # not on this machine
            continue
    return found


def test_the_extra_is_all_it_takes() -> None:
    known, installed = packages_distributions(), brought()
    assert {"starlette", "grpc", "wyoming", "websockets"} <= imported()
    for module in imported():
        assert {canonicalize_name(one) for one in known[module]} & installed, module
