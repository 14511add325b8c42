"""Every module lives in a room, and imports only from its own room or from lower ones, without circles."""

import ast
import re
from fnmatch import fnmatch
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import nemotron_asr

PACKAGE = Path(nemotron_asr.__file__).parent
ROOMS = [
    {"config", "drafts", "events", "errors", "languages", "options", "postprocess"},
    {"model", "features", "audio", "tokenizer", "sentencepiece_model"},
    {"decoding", "subtitles", "transcript", "checkpoint", "corpus"},
    {"engine"},
    {"recognizer", "recordings", "cluster"},
    {"cli", "demo", "benchmark", "server", "training", "evaluation", "__main__"},
]
LEVEL = {name: level for level, room in enumerate(ROOMS) for name in room}
NO_TORCH = ROOMS[0] | {"audio", "tokenizer", "subtitles"}
MODULES = sorted(path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Dotted names that a module imports, wherever in it, except for type checking only."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((PACKAGE.parent / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(dotted_name: str) -> str | None:
    parts = dotted_name.split(".")
    return parts[1] if parts[0] == "nemotron_asr" and len(parts) > 1 else None


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_imports_go_down(path: Path) -> None:
    home = room(dotted(path))
    if home is None:
        return  # the package itself only points to the rooms
    assert home in LEVEL, f"{home} has no room: give it one in ROOMS"
    for name in imports(path):
        other = room(name)
        if other in LEVEL:
            assert LEVEL[other] <= LEVEL[home], f"{dotted(path)} (level {LEVEL[home]}) imports {name}"


def test_the_types_are_for_users_too() -> None:
    """Without this file type checkers take everything for `Any`."""
    assert (PACKAGE / "py.typed").is_file()
    assert set(nemotron_asr.__all__) == set(dir(nemotron_asr))


def test_there_are_no_circles() -> None:
    known = {dotted(path) for path in MODULES}
    graph = {dotted(path): (imports(path) & known) - {"nemotron_asr", dotted(path)} for path in MODULES}
    graph["nemotron_asr"] = set()
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle
    assert set(order) == known


@pytest.mark.parametrize("path", [path for path in MODULES if room(dotted(path)) in NO_TORCH], ids=dotted)
def test_lower_rooms_do_without_torch(path: Path) -> None:
    assert not any(name.split(".")[0] == "torch" for name in imports(path))


@pytest.mark.parametrize("package", [path for path in MODULES if path.name == "__init__.py"], ids=str)
def test_a_package_says_what_its_modules_are_for(package: Path) -> None:
    source = (PACKAGE.parent / package).read_text(encoding="utf-8")
    named = set(re.findall(r"[\w*]+\.py\b", ast.get_docstring(ast.parse(source)) or ""))
    modules = {path.name for path in MODULES if path.parent == package.parent} - {"__init__.py", "__main__.py"}
    if package.parent != Path(PACKAGE.name):  # docs/architecture.md has the map of the whole
        assert not [name for name in modules if not any(fnmatch(name, pattern) for pattern in named)]
        assert not [pattern for pattern in named if not any(fnmatch(name, pattern) for name in modules)]
