"""The knowledge page over the real library: what it shows, and what its buttons do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from bot.errors import DocumentError, RecordsError
from bot.library import ingest
from bot.library.ingest import Ingested, Progress
from bot.services import Indexing, Services
from bot.ui import knowledge, library_work
from bot.ui.try_search import highlighted

GLAZE = b"# Glaze notes\n\nThe moss glaze matures at 1222 degrees. **Stir it** <b>twice</b>.\n"
GRASS = b"Lawns are mown on the third Tuesday of a month.\n"
EVIL_NAME = "evil ![x](http:__example.com_a.png) :red[hi].md"


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:12]


@pytest.fixture
def app(services: Services) -> Iterator[AppTest]:
    """The open page; the documents that a test adds are gone after it."""

    def script() -> None:
        import streamlit as st

        from bot.ui import knowledge

        knowledge.page(st.session_state["services"])

    before = {row.name for row in ingest.documents(services.library)}
    test = AppTest.from_function(script, default_timeout=120)
    test.session_state["services"] = services
    yield test.run()
    for row in ingest.documents(services.library):
        if row.name not in before:
            ingest.forget(services.library, row.name)


def upload(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
    app.file_uploader[0].set_value([(name, data, "text/plain") for name, data in files])
    return app.run()


def words(app: AppTest) -> str:
    assert not app.exception
    return "\n".join(element.value for element in (*app.markdown, *app.caption, *app.error))


def unescaped(text: str) -> str:
    return text.replace("\\", "").replace("\u2060", "")


def button_keys(app: AppTest) -> set[str]:
    return {button.key or "" for button in app.button}


def test_it_lists_what_is_in_the_library(app: AppTest, services: Services) -> None:
    rows = ingest.documents(services.library)
    shown = unescaped(words(app))
    assert f"{len(rows)} documents" in shown
    assert f"{sum(row.passages for row in rows)} passages" in shown
    for row in rows[: knowledge.DOCUMENTS_A_PAGE]:
        assert f"**{row.name}**" in shown
        assert f"open_{key(row.name)}" in button_keys(app)


def test_several_uploads_at_once_each_with_its_outcome(app: AppTest, services: Services) -> None:
    upload(app, ("glaze.md", GLAZE), ("grass.txt", GRASS), ("bad.pdf", b"%PDF-1.4 broken"))
    shown = unescaped(words(app))
    assert "Done: 2 added or renewed, 1 failed." in shown
    assert "**glaze.md** is in the library: 1 passage." in shown
    assert "**grass.txt** is in the library: 1 passage." in shown
    assert "**bad.pdf** " in shown
    assert (services.library.knowledge_dir / "glaze.md").read_bytes() == GLAZE
    assert not (services.library.knowledge_dir / "bad.pdf").exists()
    app.button(key="library_dismiss").click().run()
    assert "Done:" not in words(app)
    assert app.file_uploader[0].value == []


def test_what_was_uploaded_is_not_taken_in_again_by_the_next_click(app: AppTest) -> None:
    upload(app, ("glaze.md", GLAZE))
    app.selectbox(key="documents_order").select("Newest first").run()
    app.button(key=f"delete_{key('glaze.md')}").click().run()
    app.button(key="delete_yes").click().run()
    assert "glaze.md is no longer" in unescaped(words(app)).replace("*", "")
    assert f"open_{key('glaze.md')}" not in button_keys(app)


def test_the_same_content_is_said_to_be_there_already(app: AppTest) -> None:
    upload(app, ("glaze.md", GLAZE), ("copy.md", GLAZE))
    shown = unescaped(words(app))
    assert "1 added or renewed, 1 already there" in shown
    assert "**copy.md** was not added. Same content as glaze.md." in shown


def test_opening_a_document_shows_its_passages_as_they_are_written(app: AppTest) -> None:
    upload(app, ("glaze.md", GLAZE))
    app.text_input(key="documents_filter").input("glaze").run()
    app.button(key=f"open_{key('glaze.md')}").click().run()
    shown = words(app)
    assert "passage 1 of 1" in shown
    assert "\\<b\\>twice\\<\\/b\\>" in shown  # shown, not taken as HTML
    assert "The moss glaze matures at 1222 degrees" in unescaped(shown)


def test_names_are_untrusted(app: AppTest, services: Services) -> None:
    (services.library.knowledge_dir / EVIL_NAME).write_bytes(GRASS + b"Really.\n")
    app.button(key="knowledge_reread").click().run()
    shown = words(app)
    assert "![x]" not in shown
    assert ":red[hi]" not in shown
    assert EVIL_NAME in unescaped(shown)


def test_the_folder_is_read_again(app: AppTest, services: Services) -> None:
    path = services.library.knowledge_dir / "put-here.txt"
    path.write_bytes(GRASS)
    app.button(key="knowledge_reread").click().run()
    assert "**put-here.txt** is in the library" in unescaped(words(app))
    path.unlink()
    app.button(key="knowledge_reread").click().run()
    assert "**put-here.txt** is no longer in the library" in unescaped(words(app))


def test_the_index_is_rebuilt(app: AppTest, services: Services) -> None:
    ready = [row for row in ingest.documents(services.library) if row.status == "ready"]
    services.library.vectors.clear()
    app.button(key="knowledge_rebuild").click().run()
    assert f"Done: {len(ready)} added or renewed." in words(app)
    ids = [passage.id for passage in ingest.passages(services.library, ready[0].name)]
    assert services.library.vectors.present(ids) == set(ids)


def test_a_document_is_deleted_only_when_it_is_confirmed(app: AppTest, services: Services) -> None:
    upload(app, ("glaze.md", GLAZE))
    path = services.library.knowledge_dir / "glaze.md"
    app.text_input(key="documents_filter").input("glaze").run()
    app.button(key=f"delete_{key('glaze.md')}").click().run()
    assert path.exists()
    app.button(key="delete_no").click().run()
    assert path.exists()
    app.button(key=f"delete_{key('glaze.md')}").click().run()
    app.button(key="delete_yes").click().run()
    assert not path.exists()
    assert "**glaze.md** is no longer in the library." in unescaped(words(app))


@pytest.mark.parametrize(("button", "then"), [("open", ""), ("delete", "delete_yes")])
def test_what_somebody_else_deleted_meanwhile_is_a_sentence(
    app: AppTest, services: Services, button: str, then: str
) -> None:
    upload(app, ("glaze.md", GLAZE))
    app.text_input(key="documents_filter").input("glaze.md").run()
    if then:
        app.button(key=f"{button}_{key('glaze.md')}").click().run()
    ingest.forget(services.library, "glaze.md")
    app.button(key=then or f"{button}_{key('glaze.md')}").click().run()
    assert not app.exception
    assert unescaped(app.toast[0].value) == "glaze.md is no longer in the library."
    assert "No document has that in its name" in app.info[0].value


def test_forgetting_what_is_not_there_is_an_outcome(services: Services) -> None:
    work = Indexing()
    work.follow(library_work.forgetting(services.library, "never-was.md"))
    assert "never-was.md is not in the library" in work.error


def test_a_search_shows_scores_and_marks_the_quote(app: AppTest) -> None:
    upload(app, ("glaze.md", GLAZE))
    app.text_input(key="search_query").input("At what heat does moss glaze mature?").run()
    shown = words(app)
    assert "On topic." in shown
    assert "**1\\. glaze\\.md**" in shown or "**1. glaze\\.md**" in shown
    assert "1222 degrees" in unescaped(shown).split(":primary-background[")[1]
    assert all(score in shown for score in ("fused ", "dense ", "keyword "))
    assert "close in meaning, and shares words" in shown


def test_a_search_off_topic_says_so(app: AppTest) -> None:
    app.text_input(key="search_query").input("qwertz asdfgh yxcvbn").run()
    assert "Off topic." in words(app)


def test_the_number_of_results_is_chosen(app: AppTest) -> None:
    app.text_input(key="search_query").input("How long is the warranty?").run()
    found = {name for name in button_keys(app) if name.startswith("found_open_")}
    app.segmented_control(key="search_top").set_value(3).run()
    fewer = {name for name in button_keys(app) if name.startswith("found_open_")}
    assert len(found) == 5
    assert len(fewer) == 3
    assert fewer < found


def test_trouble_with_the_records_is_a_sentence(
    app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_library: object) -> None:
        raise RecordsError("The records cannot be read.", cure="Check the disk.")

    monkeypatch.setattr(knowledge, "documents", broken)
    app.run()
    assert "The records cannot be read. Check the disk." in unescaped(words(app))
    monkeypatch.undo()
    app.button(key="knowledge_again").click().run()
    assert app.file_uploader


def test_an_empty_library_says_what_to_do(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knowledge, "documents", lambda _library: [])
    app.run()
    assert "Nothing here yet" in words(app)
    assert app.button(key="knowledge_rebuild").disabled


# --- without a library -------------------------------------------------------------------------


def test_progress_is_told_by_document_and_stage() -> None:
    work = Indexing()
    assert library_work._progress(work) == (0.0, "Looking at the documents …")
    told = []
    stages = [("reading", 0, 1), ("embedding", 0, 4), ("embedding", 2, 4), ("storing", 4, 4)]
    for stage, done, total in stages:
        work._show(Progress("a.md", stage, done, total))  # type: ignore[arg-type]
        told.append(library_work._progress(work))
    assert [words for _, words in told] == [
        "a\\.md — reading …",
        "a\\.md — embedding passage 0 of 4",
        "a\\.md — embedding passage 2 of 4",
        "a\\.md — storing passage 4 of 4",
    ]
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert 0 <= min(fractions) < max(fractions) < 1


def test_work_that_fails_as_a_whole_keeps_what_was_done_and_says_why() -> None:
    def events() -> Iterator[Progress | Ingested]:
        yield Ingested("a.md", "ready", 2, None)
        raise DocumentError("b.md", "vanished.")

    work = Indexing()
    work.follow(events())
    assert not work.active
    assert library_work._summary(work.results) == "Done: 1 added or renewed."
    assert work.error == "b.md vanished."


@pytest.mark.parametrize(
    ("text", "quote", "marked"),
    [
        (
            "One. Two is *it*. Three.",
            "Two is *it*.",
            "One\\. :primary-background[Two is \\*it\\*\\.] Three\\.",
        ),
        (
            "First line.\nSecond line.",
            "First line. Second line.",
            ":primary-background[First line\\.]  \n:primary-background[Second line\\.]",
        ),
        ("Nothing of it.", "Not there.", "Nothing of it\\."),
        ("No quote.", "", "No quote\\."),
        (
            "a ] :red[b] ![c](d)",
            ":red[b]",
            "a \\] :primary-background[\\:\u2060red\\[b\\]] \\!\\[c\\]\\(d\\)",
        ),
    ],
)
def test_a_quote_is_marked_where_it_stands_and_nothing_of_it_is_markup(
    text: str, quote: str, marked: str
) -> None:
    assert highlighted(text, quote) == marked


def test_work_that_ends_while_the_page_is_drawn_leaves_no_busy_page(
    app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    show = knowledge.try_search.show
    work = Indexing()

    def ends_meanwhile(*arguments: object, **named: object) -> None:
        work.active = False
        show(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(knowledge.try_search, "show", ends_meanwhile)
    work.active = True
    app.session_state["library_work"] = work
    app.run()
    assert not app.button(key="knowledge_reread").disabled
