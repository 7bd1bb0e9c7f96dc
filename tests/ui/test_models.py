"""The model page in Streamlit's test harness, over scripted servers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
from streamlit.testing.v1 import AppTest

from bot.models.hub import FetchProgress, Hub, local_path
from bot.records.models import ModelRecord
from bot.services import Services
from bot.settings import read_settings
from bot.testing import KEY, PROFILE, Reply, ScriptedModel
from bot.ui.model_fetch import Downloads
from tests.models.test_hub import CONTENT, FILE, Change, hub_answer, on_get
from tests.models.web import serving
from tests.scripted_services import scripted_models, scripted_services

ModelsOver = Callable[..., tuple[AppTest, Services]]
HELLO = Reply("Hello there.")


def show_models(services) -> None:  # type: ignore[no-untyped-def]
    """What `AppTest` runs; it is taken out of its module, so it imports for itself."""
    from bot.ui import models

    models.page(services)


@pytest.fixture
def models_over(tmp_path: Path) -> Iterator[ModelsOver]:
    """Opens the model page over scripted models, and closes all at the end."""
    with ExitStack() as stack:

        def open_page(*models: ScriptedModel) -> tuple[AppTest, Services]:
            for model in models:
                stack.enter_context(model)
            settings = read_settings(data_dir=tmp_path / "data", knowledge_dir=tmp_path / "docs")
            services = scripted_services(settings, models[0])
            stack.callback(services.close)
            page = AppTest.from_function(show_models, args=(services,), default_timeout=20)
            return page.run(), services

        yield open_page


def talkative(name: str = "small", **values: object) -> ScriptedModel:
    return ScriptedModel(always=HELLO, name=name, **values)  # type: ignore[arg-type]


def shown(page: AppTest) -> str:
    texts = [one.value for one in (*page.markdown, *page.caption, *page.error)]
    return "\n".join(texts)


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def address(model: ScriptedModel) -> str:
    return model.endpoint().base_url


def fill(page: AppTest, **values: str | float) -> None:
    """Fill in the form; the model last, for it depends on the address."""
    for name in ("name", "address"):
        if name in values:
            page.text_input(key=f"model_add_{name}_0").set_value(str(values.pop(name)))
    page.run()
    for name, value in values.items():
        page.number_input(key=f"model_add_{name}_0").set_value(value)


def add(page: AppTest) -> AppTest:
    return page.button(key="model_add_add_0").click().run()


def test_a_card_says_where_a_model_is_how_it_is_and_what_it_costs(models_over: ModelsOver) -> None:
    profile = replace(PROFILE, prompt_price_per_million=0.4, answer_price_per_million=1.6)
    model = talkative(profile=profile)
    page, _ = models_over(model)
    assert not page.exception
    said = shown(page)
    assert "**small**" in said and "answers first" in said
    assert ":green-badge[:material/check: answers]" in said
    assert "4,096 tokens of context" in said
    assert "\\$0.40 for a million tokens read, \\$1.60 written" in said


def test_an_unreachable_server_says_why_and_can_be_checked_again(models_over: ModelsOver) -> None:
    page, services = models_over(talkative())
    with talkative("away") as gone:
        record = ModelRecord(name="mine", base_url=address(gone), model="away")
    services.models.add(record)
    page.run()
    assert "does not answer" in shown(page)
    assert "is not running" in shown(page)
    assert "Traceback" not in shown(page)
    with talkative("away", port=gone.port):
        page.button(key=f"model_check_{key('mine')}").click().run()
    assert "does not answer" not in shown(page)


def test_hello_streams_an_answer_with_its_first_token_time(models_over: ModelsOver) -> None:
    page, _ = models_over(talkative())
    page.button(key=f"model_say_{key('small')}").click().run()
    assert "> Hello there." in shown(page)
    assert "s first]" in shown(page)
    page.run()
    assert "> Hello there." in shown(page)


def test_a_hello_that_fails_is_a_sentence(models_over: ModelsOver) -> None:
    page, _ = models_over(ScriptedModel([HELLO], Reply("out of memory", status=500), name="small"))
    page.button(key=f"model_say_{key('small')}").click().run()
    assert ":red[:material/error:" in shown(page)
    assert not page.exception


def test_what_a_model_says_cannot_act_on_the_page(models_over: ModelsOver) -> None:
    hostile = "![x](https://evil.example/a.png) <script>alert(1)</script> :red[hi]"
    page, _ = models_over(ScriptedModel(always=Reply(hostile), name="small"))
    page.button(key=f"model_say_{key('small')}").click().run()
    assert "> \\![x]" in shown(page)
    assert ":red[hi]" not in shown(page)


def test_a_server_is_added_with_a_model_that_it_lists(models_over: ModelsOver) -> None:
    other = talkative("large", adapters=("glazes", "kilns"))
    page, services = models_over(talkative(), other)
    fill(page, name="My server", address=address(other))
    choice = next(one for one in page.selectbox if str(one.key).startswith("model_add_model"))
    assert choice.options == ["large", "glazes", "kilns"]
    choice.set_value("large")
    fill(page, context=2048, prompt_price=1.0, answer_price=2.0)
    add(page)
    assert services.models.added() == [
        ModelRecord(
            name="My server",
            base_url=address(other),
            model="large",
            context_tokens=2048,
            prompt_price_per_million=1.0,
            answer_price_per_million=2.0,
        )
    ]
    assert "**My server**" in shown(page)
    assert "does not answer" not in shown(page)
    assert "Adapters: glazes, kilns" in shown(page)
    assert page.text_input(key="model_add_name_1").value == ""


def test_a_key_is_named_by_its_variable_and_never_shown(models_over: ModelsOver) -> None:
    other = talkative("large")
    page, services = models_over(talkative(), other)
    services.models.add(ModelRecord(name="mine", base_url=address(other), model="large"))
    services.models.add(ModelRecord(name="open", base_url="http://localhost:9/v1", model="m"))
    page.run()
    assert "The key in `TRIPTYCH_KEY_127_0_0_1` is sent." in shown(page)
    assert "`TRIPTYCH_KEY_LOCALHOST` is not set" in shown(page)
    assert KEY not in shown(page)


@pytest.mark.parametrize(
    "hostile",
    ["file:///etc/passwd", "http://169.254.169.254/latest"],
)
def test_a_hostile_address_is_refused_in_words(models_over: ModelsOver, hostile: str) -> None:
    page, services = models_over(talkative())
    fill(page, name="evil", address=hostile)
    assert ":red[:material/error:" in shown(page)
    add(page)
    assert services.models.added() == []
    assert page.error
    assert not page.exception


def test_what_is_missing_in_the_form_is_said(models_over: ModelsOver) -> None:
    page, services = models_over(talkative())
    fill(page, name="nameless", address="http://127.0.0.1:9/v1")
    assert "lists no models now" in shown(page)
    add(page)
    assert page.error
    assert services.models.added() == []


def test_a_name_is_shown_and_never_obeyed(models_over: ModelsOver) -> None:
    page, services = models_over(talkative())
    name = "**bold** ![x](https://evil.example/x.png) :red[hi]"
    services.models.add(ModelRecord(name=name, base_url="http://127.0.0.1:9/v1", model="m"))
    page.run()
    assert name not in shown(page)
    assert "\\!\\[x\\]" in shown(page)


def test_an_added_model_is_removed(models_over: ModelsOver) -> None:
    page, services = models_over(talkative())
    services.models.add(ModelRecord(name="mine", base_url="http://127.0.0.1:9/v1", model="m"))
    page.run()
    page.button(key=f"model_really_remove_{key('mine')}").click().run()
    assert services.models.added() == []
    assert "**mine**" not in shown(page)


# --- files of a hub ---------------------------------------------------------------------------


def test_a_file_is_fetched_from_the_hub_cut_off_and_gone_on_with(
    models_over: ModelsOver, tmp_path: Path
) -> None:
    page, services = models_over(talkative())
    broken = on_get(cut_after=1_500_000)
    answers: list[Change | None] = [broken]
    with serving(lambda call: hub_answer(call, answers[0])) as site:
        hub = Hub(tmp_path / "hub", site.base_url)
        small = services.models.get("small")
        services.models = scripted_models(small, engine=services.engine, hub=hub)  # type: ignore
        page.run()
        page.text_input(key="model_fetch_name").set_value("kilns/small/kiln.gguf")
        page.button(key="model_fetch_begin").click().run()
        assert "The connection to the model hub broke" in shown(page)
        assert [one.name for one in services.models.added()] == ["hf:kilns/small/kiln.gguf"]

        answers[0] = None
        go_on = page.button(key=f"model_fetch_{key('hf:kilns/small/kiln.gguf')}")
        assert go_on.label == "Go on"
        go_on.click().run()
    assert local_path(hub, FILE).read_bytes() == CONTENT
    assert "not fetched" not in shown(page)
    assert page.text_input(key="model_fetch_name").value == ""


def test_a_download_is_cancelled_and_keeps_what_is_here(tmp_path: Path) -> None:
    reached, go_on = Event(), Event()

    class Slow:
        def fetch(self, _name: str) -> Iterator[FetchProgress]:
            yield FetchProgress(10, 30)
            reached.set()
            go_on.wait()
            yield FetchProgress(20, 30)
            raise AssertionError("went on")

    downloads = Downloads(Slow())  # type: ignore[arg-type]
    downloads.begin("hf:a/b/c.gguf")
    downloads.begin("hf:a/b/c.gguf")  # once is enough
    reached.wait()
    download = downloads.of("hf:a/b/c.gguf")
    assert download is not None and downloads.busy
    downloads.cancel("hf:a/b/c.gguf")
    go_on.set()
    download.ended.wait()
    assert not downloads.busy
    assert (download.done_bytes, download.error) == (20, "")


@pytest.mark.parametrize("name", ["../../etc/passwd", "kiln.gguf", "a/b/kiln.bin"])
def test_what_names_no_file_of_a_hub_is_refused(models_over: ModelsOver, name: str) -> None:
    page, services = models_over(talkative())
    page.text_input(key="model_fetch_name").set_value(name)
    page.button(key="model_fetch_begin").click().run()
    assert page.error and services.models.added() == []
