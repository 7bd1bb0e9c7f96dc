"""The adapters tab: what may answer and why not, two compared, one from elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from bot.errors import AdapterError
from bot.evidence.parity import read_parity, write_parity
from bot.services import Services
from bot.settings import ROOT, read_settings
from bot.testing import ScriptedModel
from bot.tuning import adapters as shelf
from tests.scripted_services import scripted_services

SHIPPED = ROOT / "adapters" / "pellworth"
Opens = Callable[..., tuple[AppTest, Services]]


def show_tab(services) -> None:  # type: ignore[no-untyped-def]
    """What `AppTest` runs; it is taken out of its module, so it imports for itself."""
    from bot.ui import adapters

    adapters.tab(services)


@pytest.fixture
def tab_over(tmp_path: Path) -> Iterator[Opens]:
    """Opens the tab over copies of the shipped adapter."""
    with ExitStack() as stack:

        def open_tab(*names: str) -> tuple[AppTest, Services]:
            for name in names:
                shutil.copytree(SHIPPED, tmp_path / "adapters" / name)
            settings = read_settings(
                data_dir=tmp_path / "data",
                knowledge_dir=tmp_path / "docs",
                adapters_dir=tmp_path / "adapters",
            )
            model = stack.enter_context(ScriptedModel())
            services = scripted_services(settings, model)
            stack.callback(services.close)
            page = AppTest.from_function(show_tab, args=(services,), default_timeout=20)
            return page, services

        yield open_tab


def shown(page: AppTest) -> str:
    kinds = (page.markdown, page.error, page.warning, page.info)
    return "\n".join(one.value for kind in kinds for one in kind)


def keys(page: AppTest) -> set[str]:
    return {str(button.key) for button in page.button}


def refuse(folder: Path, reason: str) -> None:
    found = read_parity(folder)
    assert found
    write_parity(replace(found, passed=False, reason=reason), folder)


def test_without_an_adapter_it_says_how_to_get_one(tab_over: Opens) -> None:
    page, _ = tab_over()
    page.run()
    assert not page.exception
    assert "There is no adapter yet" in shown(page)


def test_each_adapter_says_whether_it_answers_and_why_not(tab_over: Opens, tmp_path: Path) -> None:
    page, _ = tab_over("broken", "fresh", "right", "wrong")
    folder = tmp_path / "adapters"
    refuse(folder / "wrong", "It answers *other* things.")
    (folder / "fresh" / "parity.json").unlink()
    (folder / "broken" / shelf.GGUF_NAME).write_bytes(b"no weights")
    page.run()
    assert not page.exception
    said = shown(page)
    assert "16 of 16 answers are PEFT's" in said
    assert r"It answers \*other\* things" in said
    assert "has not been checked yet" in said
    assert "is not the file that was trained" in said
    assert {"adapter_forum_right", "adapter_fact_check_wrong", "adapter_fact_check_fresh"} <= keys(
        page
    )
    assert "adapter_forum_wrong" not in keys(page)


def test_a_check_is_begun_by_its_button(
    tab_over: Opens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, services = tab_over("mine")
    refuse(tmp_path / "adapters" / "mine", "It rounds.")
    begun: list[str] = []
    monkeypatch.setattr(services, "begin_check", begun.append)
    page.run()
    page.button(key="adapter_fact_check_mine").click().run()
    assert begun == ["mine"]
    assert not page.exception


def test_deleting_asks_first_and_says_when_it_cannot_be(
    tab_over: Opens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, services = tab_over("mine", "other")
    page.run()
    page.button(key="adapter_delete_forever_mine").click().run()
    assert not page.exception
    assert not (tmp_path / "adapters" / "mine").exists()
    assert "adapter_forum_mine" not in keys(page)

    def answering(name: str) -> None:
        raise AdapterError(f"{name} is answering.", cure="Wait for the answer, or stop it.")

    monkeypatch.setattr(services, "delete_adapter", answering)
    page.run()
    page.button(key="adapter_delete_forever_other").click().run()
    assert "other is answering" in shown(page)


def test_two_are_compared_by_what_is_not_the_same(tab_over: Opens, tmp_path: Path) -> None:
    page, _ = tab_over("one", "two")
    folder = tmp_path / "adapters" / "two"
    recipe = shelf.adapter(folder.parent, "two").recipe
    replace(recipe, rank=8).save(folder)
    (folder / shelf.MANIFEST_NAME).unlink()
    shelf.write_manifest(folder, {"created_at": "2026-01-01T00:00:00+00:00"})
    page.run()
    page.multiselect(key="adapters_compared").set_value(["one", "two"]).run()
    assert not page.exception
    table = page.dataframe[0].value
    assert table[table[""] == "rank"][["one", "two"]].values.tolist() == [["16", "8"]]
    assert "epochs" not in set(table[""])
    assert not page.button(key="adapters_ask").disabled
    refuse(folder, "It rounds.")
    page.run()
    assert page.button(key="adapters_ask").disabled


def test_what_is_imported_is_named_by_us_and_then_checked(
    tab_over: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, services = tab_over()
    taken: list[tuple[list[str], str]] = []
    begun: list[str] = []

    def take(files: Sequence[Path], name: str) -> None:
        taken.append(([path.name for path in files], name))

    monkeypatch.setattr(services, "import_adapter", take)
    monkeypatch.setattr(services, "begin_check", begun.append)
    page.run()
    page.button(key="adapter_import_go").click().run()
    assert "Choose the files" in shown(page)
    page.file_uploader(key="adapter_files").upload("../../evil.zip", b"PK")
    page.text_input(key="adapter_import_name").set_value("theirs")
    page.button(key="adapter_import_go").click().run()
    assert not page.exception
    assert (taken, begun) == ([(["upload-0.zip"], "theirs")], ["theirs"])
