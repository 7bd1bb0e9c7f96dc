"""The order of floors, read from the imports of every file, the lazy ones included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from bot.settings import ROOT

FLOORS = (
    {"bot.errors", "bot.logs", "bot.settings", "bot.messages", "bot.damage", "bot.formulas"},
    {"bot.records", "bot.servers"},
    {"bot.models", "bot.library", "bot.tuning"},
    {"bot.chat", "bot.testing"},
    {"bot.evidence"},
    {"bot.services"},
    {"bot.doctor"},
    {"bot.ui"},
    {"bot.terminal"},
    {"bot.commands"},
    {"bot.cli", "app"},
    {"bot.__main__"},
)
"""From the ground up. A room may use the floors below it, and of its own floor only itself."""

TOGETHER = {"bot.testing": {"bot.chat"}, "bot.settings": {"bot.errors"}}
"""Rooms that share a floor and still may be used: by whom → which."""

ONLY_USER = {
    "langchain_community": "bot.library.load",
    "langchain_text_splitters": "bot.library.split",
    "tokenizers": "bot.library.embed",
    "chromadb": "bot.library.vectors",
    "openai": "bot.models.client",
    "langchain": "bot.models.providers",
    "huggingface_hub": "bot.models.hub",
    "xllamacpp": "bot.models.serve",
    "rapidfuzz": "bot.tuning.checks",
}
PEFT_USERS = {"bot.tuning.lora", "bot.tuning.reference"}
"""One makes an adapter, the other asks a finished one."""

HEAVY = {"torch", "transformers", "sentence_transformers", "chromadb", "peft", "openai"} | {
    "langchain",
    "langchain_community",
    "langchain_core",
    "langchain_text_splitters",
}
SETTINGS_READERS = {"app", "bot.commands", "bot.services", "bot.settings"}
DANGEROUS = {"pickle", "cloudpickle", "dill", "marshal", "shelve"}


@dataclass(frozen=True)
class Import:
    """One import: what is imported, on which line, and whether it waits until it is called."""

    module: str
    line: int
    lazy: bool


def sources() -> dict[str, Path]:
    """Every module of the product, by its dotted name."""
    found = {"app": ROOT / "app.py"}
    for path in sorted((ROOT / "bot").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


SOURCES = sources()


def imports_of(module: str, source: str) -> list[Import]:
    """Every import in a module's source, wherever it stands."""
    package = module if module in SOURCES and SOURCES[module].name == "__init__.py" else ""
    package = package or module.rpartition(".")[0]
    return list(_imports(ast.parse(source), package, lazy=False))


def _imports(node: ast.AST, package: str, *, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import(names):
                yield from (Import(name.name, child.lineno, lazy) for name in names)
            case ast.ImportFrom(origin, names, level):
                base = origin or ""
                if level:
                    parents = package.split(".")[: len(package.split(".")) - level + 1]
                    base = ".".join([*parents, *([origin] if origin else [])])
                for name in names:
                    whole = f"{base}.{name.name}"
                    yield Import(whole if whole in SOURCES else base, child.lineno, lazy)
            case ast.Call(func, [ast.Constant(str() as name), *_]) if _called(func) in {
                "import_module",
                "__import__",
            }:
                yield Import(name, child.lineno, True)
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        checking = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        yield from _imports(child, package, lazy=lazy or inside or checking)


def _called(function: ast.expr) -> str:
    return ast.unparse(function).rpartition(".")[2]


IMPORTS = {
    name: imports_of(name, path.read_text(encoding="utf-8")) for name, path in SOURCES.items()
}


def room_of(module: str) -> str | None:
    """The room that a module stands in; None for the package itself."""
    rooms = (room for floor in FLOORS for room in floor)
    return next((room for room in rooms if module == room or module.startswith(f"{room}.")), None)


def floor_of(room: str) -> int:
    """The height of a room's floor."""
    return next(height for height, floor in enumerate(FLOORS) if room in floor)


def wrong_ways(module: str, imported: list[Import]) -> list[str]:
    """The imports of a module that lead up, or sideways into another room."""
    room = room_of(module)
    faults = []
    for one in imported:
        other = room_of(one.module)
        if room is None or other is None or other == room:
            continue
        if other in TOGETHER.get(room, ()):
            continue
        if floor_of(other) >= floor_of(room):
            faults.append(f"{module}:{one.line} imports {one.module}")
    return faults


def test_every_module_stands_on_a_floor() -> None:
    assert [name for name in SOURCES if name != "bot" and room_of(name) is None] == []


@pytest.mark.parametrize("module", SOURCES)
def test_imports_lead_down(module: str) -> None:
    assert wrong_ways(module, IMPORTS[module]) == []


def test_an_import_that_leads_up_or_sideways_is_found() -> None:
    lazy = "def f():\n    from bot.chat import prompts\n"
    assert wrong_ways("bot.library.load", imports_of("bot.library.load", lazy))
    sideways = "from bot.models.client import stream"
    assert wrong_ways("bot.library.load", imports_of("bot.library.load", sideways))
    relative = "from ..models import client"
    assert wrong_ways("bot.library.load", imports_of("bot.library.load", relative))
    hidden = "import importlib\nimportlib.import_module('bot.ui.main')"
    assert wrong_ways("bot.chat.live", imports_of("bot.chat.live", hidden))
    assert not wrong_ways("bot.ui.chat", imports_of("bot.ui.chat", sideways))


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {
        name: {one.module for one in imported if not one.lazy and one.module in SOURCES} - {name}
        for name, imported in IMPORTS.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize(("library", "user"), ONLY_USER.items())
def test_a_library_has_one_user(library: str, user: str) -> None:
    users = {
        name
        for name, imported in IMPORTS.items()
        if any(one.module.partition(".")[0] == library for one in imported)
    }
    assert users == {user}


def test_peft_makes_adapters_and_answers_with_them() -> None:
    users = {
        name
        for name, imported in IMPORTS.items()
        if any(one.module.partition(".")[0] == "peft" for one in imported)
    }
    assert users <= PEFT_USERS


def test_streamlit_is_for_the_page_only() -> None:
    users = {
        name
        for name, imported in IMPORTS.items()
        if any(one.module.partition(".")[0] == "streamlit" for one in imported)
    }
    assert {name for name in users if name != "app" and room_of(name) != "bot.ui"} == set()


def test_heavy_libraries_are_imported_when_they_are_needed() -> None:
    eager = [
        f"{name}:{one.line} imports {one.module}"
        for name, imported in IMPORTS.items()
        for one in imported
        if not one.lazy and one.module.partition(".")[0] in HEAVY
    ]
    assert eager == []


def test_settings_are_read_at_the_top_only() -> None:
    readers = {
        name
        for name, imported in IMPORTS.items()
        if any(one.module.startswith(("bot.settings", "pydantic_settings")) for one in imported)
    }
    assert readers <= SETTINGS_READERS


def test_nothing_that_is_loaded_can_run_code() -> None:
    faults = []
    for name, path in SOURCES.items():
        source = path.read_text(encoding="utf-8")
        faults += [
            f"{name}:{one.line} imports {one.module}"
            for one in IMPORTS[name]
            if one.module.partition(".")[0] in DANGEROUS
        ]
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                faults.append(f"{name}:{node.lineno} calls torch.load")
            if isinstance(node, ast.keyword) and node.arg in (
                "trust_remote_code",
                "unsafe_allow_html",
                "unsafe_allow_javascript",
                "allow_dangerous_deserialization",
            ):
                faults.append(f"{name}:{node.value.lineno} gives {node.arg}")
    assert faults == []


def test_no_folder_is_taken_for_navigation() -> None:
    assert not [path for path in (ROOT / "pages", ROOT / "bot" / "ui" / "pages") if path.exists()]
