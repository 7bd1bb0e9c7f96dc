"""The documentation says what is true: settings, tree, commands and links are checked."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bot import __version__
from bot.settings import ROOT, Settings, variable_of

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL_BLOCKS = "\n".join(re.findall(r"```(?:sh|bash|console)\n(.*?)```", README, re.DOTALL))


def _tree() -> dict[str, str]:
    """The captioned tree of the README: path → caption."""
    block = re.search(r"```text\n(app\.py.*?)```", README, re.DOTALL)
    assert block, "README.md has no captioned tree"
    captions: dict[str, str] = {}
    folders: list[str] = []
    for line in block.group(1).splitlines():
        entry = re.match(r"( *)(\S+)(?: {2,}(.*))?$", line)
        if not entry:
            continue
        depth = len(entry.group(1)) // 2
        folders = [*folders[:depth], entry.group(2).rstrip("/")]
        captions["/".join(folders)] = entry.group(3) or ""
    return captions


def _tracked() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for path in listed.stdout.splitlines() if (ROOT / path).exists()]


def test_every_setting_is_listed_with_its_default() -> None:
    for name, field in Settings.model_fields.items():
        variable = variable_of(name)
        row = re.search(rf"^\| `{variable}` \| `?([^|`]*)`? \|", README, re.MULTILINE)
        assert row, f"README.md does not list {variable}"
        shown = row.group(1).strip()
        default = str(field.default)
        assert shown == (default or "empty"), f"{name}: README says {shown!r}, code {default!r}"


def test_no_setting_is_listed_that_does_not_exist() -> None:
    known = set(map(variable_of, Settings.model_fields))
    named = set(re.findall(r"TRIPTYCH_[A-Z_]+", README))
    assert {one for one in named if not one.startswith("TRIPTYCH_KEY_")} <= known


def test_everything_in_the_tree_exists() -> None:
    missing = [path for path in _tree() if not (ROOT / path).exists()]
    assert not missing


def test_every_room_and_module_is_in_the_tree_with_a_caption() -> None:
    tree = _tree()
    expected = {path.split("/")[0] for path in _tracked()}
    expected |= {
        path
        for path in _tracked()
        if path.startswith("bot/") and path.endswith(".py") and not path.endswith("__init__.py")
        if "/migrations/versions/" not in path  # their folder is listed
    }
    expected |= {"/".join(path.split("/")[:2]) for path in expected if path.startswith("bot/")}
    unlisted = sorted(path for path in expected if path not in tree and not path.startswith(".git"))
    assert not unlisted
    assert not [path for path, caption in tree.items() if not caption]


def test_make_targets_in_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"^\s*make ([a-z-]+)", SHELL_BLOCKS, re.MULTILINE))
    named |= set(re.findall(r"`make ([a-z-]+)`", README))
    assert {"run", "test", "setup", "check", "bench"} <= named <= targets


@pytest.mark.parametrize("command", sorted(set(re.findall(r"python -m bot ([a-z]+)", README))))
def test_every_command_in_the_readme_has_help(command: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "bot", command, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr
    assert command in shown.stdout


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m (bench\.[a-z_]+)", README))))
def test_every_bench_in_the_readme_exists(module: str) -> None:
    assert importlib.util.find_spec(module)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (document.parent / target).exists()] == []


def test_every_decision_is_indexed() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in folder.glob("0*.md") if f"({path.name})" not in index] == []


def test_the_changelog_names_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
