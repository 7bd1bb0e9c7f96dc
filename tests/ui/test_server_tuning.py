"""The tab for models of servers in Streamlit's test harness, over a scripted provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from bot.records.examples import NewRow, add_rows, create_set
from bot.records.models import ModelRecord
from bot.services import Services
from bot.settings import read_settings
from bot.testing import ScriptedModel
from bot.ui import state
from tests.models.test_fine_tuning import CHATS, Provider, job
from tests.models.web import Answer, Call, Site, serving
from tests.scripted_services import scripted_services

Opens = Callable[..., tuple[AppTest, Site]]


def show_tab(services) -> None:  # type: ignore[no-untyped-def]
    """What `AppTest` runs; it is taken out of its module, so it imports for itself."""
    from bot.ui import server_tuning

    server_tuning.tab(services)


class Kiln(Provider):
    """A provider that lists its models, too, whoever asks."""

    def __call__(self, call: Call) -> Answer:
        if call.path == "/v1/models":
            entries = [{"id": "kiln-1", "object": "model"}, {"id": "ft:kiln-1:acme::9"}]
            return Answer({"object": "list", "data": entries})
        return super().__call__(call)


@pytest.fixture
def tab_over(tmp_path: Path) -> Iterator[Opens]:
    """Opens the tab over a server that answers with a function."""
    with ExitStack() as stack:

        def open_tab(answer: Callable[[Call], Answer] | None) -> tuple[AppTest, Site]:
            model = stack.enter_context(ScriptedModel())
            site = stack.enter_context(serving(answer or (lambda _: Answer(status=404))))
            settings = read_settings(data_dir=tmp_path / "data", knowledge_dir=tmp_path / "docs")
            services = scripted_services(settings, model)
            stack.callback(services.close)
            if answer:
                record = ModelRecord(name="far", base_url=f"{site.base_url}/v1", model="kiln-1")
                services.models.add(record)
            page = AppTest.from_function(show_tab, args=(services,), default_timeout=20)
            page.session_state[state.EXAMPLE_SET] = _examples(services)
            return page.run(), site

        yield open_tab


def _examples(services: Services) -> str:
    chosen = create_set(services.engine, "kilns")
    add_rows(services.engine, chosen, [NewRow(chat, "typed") for chat in CHATS])
    return chosen


def shown(page: AppTest) -> str:
    """All that is said, without the backslashes that keep untrusted text from being markup."""
    texts = (*page.markdown, *page.caption, *page.error, *page.success, *page.info)
    return "\n".join(one.value for one in texts).replace("\\", "").replace("\u2060", "")


def price(page: AppTest, dollars: float) -> AppTest:
    return next(one for one in page.number_input if one.label == "Price of training").set_value(
        dollars
    )


def test_without_a_server_it_says_where_to_add_one(tab_over: Opens) -> None:
    page, _ = tab_over(None)
    assert "Add one on the Models page" in shown(page)
    assert not page.button


def test_nothing_is_sent_before_the_cost_is_agreed_to(tab_over: Opens) -> None:
    provider = Kiln()
    page, _ = tab_over(provider)
    assert not page.exception
    assert "Enter the price" in shown(page), "the price of an unknown server is asked for"
    price(page, 5.0).run()
    assert page.button(key="server_job_start").disabled
    consent = page.checkbox[0]
    assert "Send 10 examples to" in consent.label and "at most about" in consent.label
    consent.check().run()
    assert not provider.files, "an agreement alone sends nothing"

    page.button(key="server_job_start").click().run()

    assert "The job is started" in shown(page) and "validating files" in shown(page)
    assert len(provider.files) == len(provider.jobs) == 1


def test_a_changed_plan_must_be_agreed_to_anew(tab_over: Opens) -> None:
    page, _ = tab_over(Kiln())
    price(page, 5.0).run()
    page.checkbox[0].check().run()
    page.number_input(key="server_job_epochs").set_value(9).run()
    assert not page.checkbox[0].value
    assert page.button(key="server_job_start").disabled


def test_jobs_say_what_they_made_and_a_running_one_can_be_stopped(tab_over: Opens) -> None:
    provider = Kiln()
    made = job(id="ftjob-0", status="succeeded", fine_tuned_model="ft:kiln-1:acme::9")
    provider.jobs = [job(), made]
    page, _ = tab_over(provider)
    said = shown(page)
    assert "running" in said and "answers as ft:kiln-1:acme::9" in said
    assert "ft:kiln-1:acme::9" in said.rpartition("Adapters it answers with")[2]

    next(one for one in page.button if one.label == "Stop it").click().run()

    assert provider.jobs[0]["status"] == "cancelled" and "cancelled" in shown(page)


def test_a_vllm_server_loads_an_adapter_by_name(tab_over: Opens) -> None:
    loaded: list[str] = []

    def vllm(call: Call) -> Answer:
        match call.path:
            case "/v1/models":
                own = {"id": "kiln-1", "owned_by": "vllm"}
                adapters = [{"id": one, "parent": "kiln-1"} for one in loaded]
                return Answer({"object": "list", "data": [own, *adapters]})
            case "/v1/load_lora_adapter":
                loaded.append(call.body["lora_name"])
                return Answer(body=b"Success")
            case "/v1/unload_lora_adapter":
                loaded.remove(call.body["lora_name"])
                return Answer(body=b"Success")
        return Answer({"detail": "Not Found"}, status=404)

    page, _ = tab_over(vllm)
    assert "no fine-tuning" in shown(page) and "It lists none" in shown(page)
    page.text_input(key="server_load_name").set_value("glazes")
    page.text_input(key="server_load_path").set_value("/adapters/glazes")
    next(one for one in page.button if one.label == "Load").click().run()
    assert "has loaded glazes" in shown(page) and loaded == ["glazes"]
    next(one for one in page.button if one.label == "Unload").click().run()
    assert loaded == [] and "It lists none" in shown(page)


def test_a_refusal_is_a_sentence_and_its_markup_stays_text(tab_over: Opens) -> None:
    words = {"error": {"message": "No ![x](https://evil.example/x.png) there"}}

    def vllm(call: Call) -> Answer:
        if call.path == "/v1/models":
            return Answer({"object": "list", "data": [{"id": "kiln-1", "owned_by": "vllm"}]})
        return Answer(words, status=400)

    page, _ = tab_over(vllm)
    page.text_input(key="server_load_name").set_value("glazes")
    page.text_input(key="server_load_path").set_value("/adapters/glazes")
    next(one for one in page.button if one.label == "Load").click().run()
    assert "evil" in page.error[0].value
    assert "![x]" not in page.error[0].value and not page.exception
