"""The script that Streamlit runs for every visit and every click: shell and navigation."""

from __future__ import annotations

import streamlit as st
from streamlit.navigation.page import Page

from bot.errors import TriptychError
from bot.services import Services, missing_parts
from bot.ui import (
    chat,
    house,
    knowledge,
    models,
    places,
    setup,
    text,
    theme,
    training_status,
    tuning,
)


def main() -> None:
    """Show the chosen page, or what is missing before there can be one."""
    theme.dress_page()
    if missing_parts():
        setup.page()
        return
    try:
        services = house.services()
        chosen = _chosen_page(services)
        training_status.line(services)
        chosen.run()
    except TriptychError as error:
        st.error(f"**{text.plain(error.message)}**  \n{text.plain(error.cure)}")
        st.button("Try again", key="try-again", icon=":material/refresh:")


def _chosen_page(services: Services) -> Page:
    def chat_page() -> None:
        chat.page(services)

    def knowledge_page() -> None:
        knowledge.page(services)

    def tuning_page() -> None:
        tuning.page(services)

    def models_page() -> None:
        models.page(services)

    return st.navigation(
        [
            st.Page(chat_page, title="Chat", icon=":material/forum:", url_path="", default=True),
            st.Page(
                knowledge_page,
                title="Knowledge",
                icon=":material/library_books:",
                url_path="knowledge",
            ),
            st.Page(
                tuning_page,
                title="Fine-tune",
                icon=":material/model_training:",
                url_path=places.FINE_TUNE,
            ),
            st.Page(models_page, title="Models", icon=":material/neurology:", url_path="models"),
        ],
        position="top",
    )


if __name__ == "__main__":
    main()
