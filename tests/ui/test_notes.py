"""What was set aside is told on the page, until it is dismissed."""

from __future__ import annotations

from bot.damage import leave_note
from bot.testing import ScriptedModel
from tests.ui.conftest import PageOver


def test_a_note_is_shown_until_it_is_dismissed(page_over: PageOver) -> None:
    page, services = page_over(ScriptedModel())
    place = services.settings.data_dir / "chroma.damaged-20260101-000000"
    place.mkdir()
    leave_note(place, "The search index was damaged: <b>look</b> into chroma.damaged.")
    page.run()
    told = [one.value for one in page.sidebar.markdown if "search index was damaged" in one.value]
    assert len(told) == 1
    assert "<b>" not in told[0]
    (button,) = (one for one in page.sidebar.button if one.label == "Dismiss")
    button.click().run()
    assert not [one for one in page.sidebar.markdown if "was damaged" in one.value]
    assert place.exists()
