"""The examples tab without a browser: sets, rows, files, checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from bot.library.split import Passage
from bot.messages import Message
from bot.records.documents import StoredDocument, StoredPassage, save_document, save_passages
from bot.records.examples import (
    NewRow,
    add_rows,
    change_row,
    create_set,
    delete_rows,
    example_rows,
    example_sets,
)
from bot.services import Services
from bot.settings import read_settings
from bot.testing import Gate, Reply, ScriptedModel
from bot.tuning.sets import approved_examples
from bot.ui import example_drafts, state
from tests.scripted_services import scripted_services

DOCUMENT = StoredDocument(
    name="rules.md",
    sha256="s",
    title="Rules",
    kind="md",
    size_bytes=7,
    modified_ns=1,
    layout="1",
    status="ready",
)


def show_tab(services) -> None:  # type: ignore[no-untyped-def]
    """What `AppTest` runs; it is taken out of its module, so it imports for itself."""
    from bot.ui import examples

    examples.tab(services)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with ExitStack() as stack:
        model = stack.enter_context(ScriptedModel(always=Reply(" the ring cost?")))
        settings = read_settings(data_dir=tmp_path / "data", knowledge_dir=tmp_path / "docs")
        made = scripted_services(settings, model)
        stack.callback(made.close)
        yield made


def opened(services: Services) -> AppTest:
    return AppTest.from_function(show_tab, args=(services,), default_timeout=30).run()


def filled(services: Services, *pairs: tuple[str, str]) -> str:
    set_id = create_set(services.engine, "Prices")
    chats = [(Message("user", asked), Message("assistant", said)) for asked, said in pairs]
    add_rows(services.engine, set_id, [NewRow(chat, "typed") for chat in chats])
    return set_id


def stored(services: Services, set_id: str) -> list[tuple[str, ...]]:
    return [
        tuple(one.content for one in example.messages)
        for example in approved_examples(services.engine, set_id)
    ]


def edit(page: AppTest, **edits: Any) -> AppTest:
    """What the table in the browser tells after edits; all of them since it was drawn."""
    nothing: dict[str, Any] = {"edited_rows": {}, "added_rows": [], "deleted_rows": []}
    page.session_state[page.data_editor[0].key] = nothing | edits
    return page.run()


def said(page: AppTest) -> str:
    parts = [*page.markdown, *page.caption, *page.info, *page.warning, *page.error, *page.success]
    return "\n".join(str(part.value) for part in parts)


def test_the_sample_is_loaded_with_one_click_and_has_no_problem(services: Services) -> None:
    page = opened(services)
    assert "No examples yet" in said(page)
    page.button(key="examples_sample").click().run()
    (found,) = example_sets(services.engine)
    assert (found.name, found.approved) == ("Pellworth sample", 525)
    assert page.session_state[state.EXAMPLE_SET] == found.id
    assert len(page.data_editor[0].value) == 525
    page.segmented_control(key="examples_view").set_value("Check").run()
    assert "nothing was found" in said(page)
    assert [one.value for one in page.metric][:2] == ["525", "98"]
    assert not page.exception


def test_a_set_is_made_renamed_and_deleted(services: Services) -> None:
    page = opened(services)
    page.button(key="examples_new").click().run()
    page.text_input(key="examples_name").input("Prices")
    page.button(key="examples_name_done").click().run()
    page.button(key="examples_new").click().run()
    page.text_input(key="examples_name").input(" Prices")
    page.button(key="examples_name_done").click().run()
    assert "named Prices already" in said(page)
    page.text_input(key="examples_name").input("Hours")
    page.button(key="examples_name_done").click().run()
    assert [one.name for one in example_sets(services.engine)] == ["Hours", "Prices"]
    page.button(key="examples_rename").click().run()
    page.text_input(key="examples_name").input("Opening hours")
    page.button(key="examples_name_done").click().run()
    page.button(key="examples_delete").click().run()
    page.button(key="examples_delete_yes").click().run()
    (left,) = example_sets(services.engine)
    assert left.name == "Prices"
    assert page.session_state[state.EXAMPLE_SET] == left.id
    assert not page.exception


def test_every_edit_is_stored_and_the_table_stays_as_it_was_drawn(services: Services) -> None:
    set_id = filled(services, ("a", "1"), ("b", "2"), ("c", "3"))
    page = opened(services)
    key = page.data_editor[0].key
    edit(page, edited_rows={1: {"Answer": " 22 "}})
    assert stored(services, set_id) == [("a", "1"), ("b", "22"), ("c", "3")]
    edit(page, edited_rows={1: {"Answer": " 22 "}}, added_rows=[{}])
    assert len(stored(services, set_id)) == 3, "an empty row is not stored"
    added = [{"Question": "d"}]
    edit(page, edited_rows={1: {"Answer": " 22 "}}, added_rows=added)
    assert stored(services, set_id)[3] == ("d", "")
    added = [{"Question": "d", "Answer": "4"}, {"Question": "e", "Answer": "5"}]
    edit(page, edited_rows={1: {"Answer": " 22 "}}, added_rows=added)
    edit(page, edited_rows={1: {"Answer": " 22 "}}, added_rows=added[1:])
    assert stored(services, set_id) == [("a", "1"), ("b", "22"), ("c", "3"), ("e", "5")]
    assert page.data_editor[0].key == key, "whoever types is not thrown out of the cell"
    edit(page, edited_rows={1: {"Answer": " 22 "}}, added_rows=added[1:], deleted_rows=[0])
    assert stored(services, set_id) == [("b", "22"), ("c", "3"), ("e", "5")]
    assert page.data_editor[0].key != key
    assert list(page.data_editor[0].value["Question"]) == ["b", "c", "e"]
    assert not page.exception


def test_nothing_is_lost_when_two_windows_edit_one_set(services: Services) -> None:
    set_id = filled(services, ("a", "1"), ("b", "2"), ("c", "3"))
    one, other = opened(services), opened(services)
    edit(one, edited_rows={0: {"Answer": "11"}})
    edit(other, edited_rows={1: {"Answer": "22"}})
    assert stored(services, set_id) == [("a", "11"), ("b", "22"), ("c", "3")]
    assert list(other.data_editor[0].value["Answer"]) == ["11", "22", "3"]
    rows = example_rows(services.engine, set_id)
    change_row(services.engine, rows[0].id, (Message("user", "a"), Message("assistant", "x")), "")
    edit(one, edited_rows={0: {"Answer": "12"}})
    assert stored(services, set_id)[0] == ("a", "x")
    assert stored(services, set_id)[-1] == ("a", "12")
    assert any("another window" in toast.value for toast in one.toast)
    one.run()
    delete_rows(services.engine, [rows[1].id])
    edit(one, edited_rows={1: {"Answer": "23"}})
    assert stored(services, set_id)[-1] == ("b", "23")
    assert not one.exception


def test_longer_chats_keep_what_was_said_before(services: Services) -> None:
    set_id = create_set(services.engine, "Chats")
    chat = tuple(
        Message("assistant" if place % 2 else "user", text) for place, text in enumerate("abcd")
    )
    add_rows(services.engine, set_id, [NewRow(chat, "upload")])
    page = opened(services)
    assert list(page.data_editor[0].value["Before"]) == [1]
    edit(page, edited_rows={0: {"Question": "C"}})
    assert stored(services, set_id) == [("a", "b", "C", "d")]


def test_a_file_is_added_and_its_other_rows_are_mended_in_place(services: Services) -> None:
    set_id = filled(services)
    page = opened(services)
    table = "question;answer\na;1\nb;\n;3\nc;=4\n"
    page.file_uploader[0].upload("prices.csv", table.encode(), "text/csv").run()
    assert stored(services, set_id) == [("a", "1"), ("c", "=4")]
    assert "2 examples added; 2 rows to be mended" in said(page)
    mending = page.data_editor[1]
    assert list(mending.value.index) == [3, 4]
    assert mending.value["Problem"].tolist()[0].startswith("The answer has no text.")
    page.session_state[mending.key] = {
        "edited_rows": {0: {"Answer": "2"}},
        "added_rows": [],
        "deleted_rows": [],
    }
    page.run()
    page.button(key="examples_add_mended_0").click().run()
    assert stored(services, set_id) == [("a", "1"), ("c", "=4"), ("b", "2")]
    assert "3 examples added; 1 row to be mended" in said(page)
    page.button(key="examples_dismiss_0").click().run()
    page.file_uploader[0].upload("prices.csv", b"\xff\xfe", "text/csv").run()
    assert "UTF" in said(page)
    assert not page.exception


def test_problems_are_listed_with_a_way_to_mend_them(services: Services) -> None:
    set_id = filled(
        services,
        ("Where is it?", "Here."),
        ("Where is it?", "There."),
        ("What does it cost?", "£2."),
        ("what does it cost", "£2"),
        ("How heavy is the Wren 3?", "41 kg."),
        ("What colour?", ""),
    )
    page = opened(services)
    page.segmented_control(key="examples_view").set_value("Check").run()
    assert "1 problem to be mended before training, and 3 warnings." in said(page)
    page.button(key="examples_mend_0").click().run()  # the empty one
    page.button(key="examples_keep_0_2").click().run()  # "There."
    page.button(key="examples_mend_0").click().run()  # the duplicate
    page.button(key="examples_mend_0").click().run()  # that of few-shot
    assert stored(services, set_id) == [("Where is it?", "There."), ("What does it cost?", "£2.")]
    assert "nothing was found" in said(page)
    page.segmented_control(key="examples_view").set_value("Rows").run()
    assert list(page.data_editor[0].value["Question"]) == ["Where is it?", "What does it cost?"]
    assert not page.exception


def drafted(services: Services, *pairs: tuple[str, str]) -> tuple[str, list[str]]:
    set_id = create_set(services.engine, "Drafts")
    chats = [(Message("user", asked), Message("assistant", said)) for asked, said in pairs]
    rows = [NewRow(chat, "draft", "draft", "rules.md") for chat in chats]
    return set_id, add_rows(services.engine, set_id, rows)


def test_drafts_are_approved_mended_or_discarded(services: Services) -> None:
    set_id, (first, second, third) = drafted(services, ("a", "1"), ("b", "2"), ("c", "3"))
    page = opened(services)
    page.segmented_control(key="examples_view").set_value("Drafts").run()
    assert "3 drafts" in said(page)
    page.text_input(key=f"examples_draft_question_{second}").input("B?")
    page.button(key=f"examples_approve_{second}").click().run()
    page.text_area(key=f"examples_draft_answer_{third}").input(" ")
    page.button(key=f"examples_approve_{third}").click().run()
    assert stored(services, set_id) == [("B?", "2")]
    page.button(key=f"examples_discard_{first}").click().run()
    page.text_area(key=f"examples_draft_answer_{third}").input("33")
    page.button(key="examples_approve_all").click().run()
    assert stored(services, set_id) == [("B?", "2"), ("c", "33")]
    assert example_rows(services.engine, set_id, "draft") == []
    assert not page.exception


def test_a_model_drafts_from_a_document_until_it_is_cancelled(services: Services) -> None:
    save_document(services.engine, DOCUMENT)
    save_passages(
        services.engine,
        [StoredPassage("s-0", "s", "rules.md", "Rules", "", None, 0, "The ring costs £15.")],
    )
    set_id, _ = drafted(services)
    page = opened(services)
    page.segmented_control(key="examples_view").set_value("Drafts").run()
    page.button(key="examples_draft").click().run()
    work = example_drafts.draftings().of(set_id)
    assert work is not None
    work.wait(20)
    page.run()
    assert (work.active, work.error) == (False, "")
    (row,) = example_rows(services.engine, set_id, "draft")
    assert row.messages[0].content == "How much does the ring cost?"
    assert row.document == "rules.md"
    assert approved_examples(services.engine, set_id) == [], "nobody has approved it"
    assert "1 draft" in said(page)


def test_a_cancelled_drafting_keeps_what_it_drafted(services: Services) -> None:
    set_id, _ = drafted(services)
    work = example_drafts.draftings().claim(set_id, "rules.md", 5)
    assert work is not None
    assert example_drafts.draftings().claim(set_id, "rules.md", 5) is None, "one at a time"
    gate = Gate()
    script = [Reply(" the ring cost?"), Reply(" the lid cost?", gate=gate)]
    with ScriptedModel(script) as model:
        text = "The ring costs £15. The lid costs £19."
        passage = Passage("s-0", "rules.md", "Rules", "", None, 0, text)
        work.begin(services.engine, model, [passage], 20)
        assert gate.reached.wait(20)
        work.cancel()
        work.wait(20)
        gate.release()
    assert (work.active, work.error, work.drafted) == (False, "", 1)
    assert len(example_rows(services.engine, set_id, "draft")) == 1
