"""Files of a model hub, fetched in the background: a reload or a click does not interrupt it."""

from __future__ import annotations

import logging
from contextlib import closing
from threading import Event, Lock, Thread

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from bot.errors import TriptychError
from bot.models.hub import PREFIX, parse
from bot.models.registry import Models
from bot.records.models import ModelRecord
from bot.services import Services
from bot.ui.text import plain

logger = logging.getLogger(__name__)

LONGEST_NAME = 200

_DEFECT = "Something went wrong inside Triptych; the log has the details."
_NAME = "model_fetch_name"
_PROBLEM = "_model_fetch_problem"


class Download:
    """One file on its way: plain values, read by any thread without a lock."""

    def __init__(self) -> None:
        self.active = True
        self.done_bytes = 0
        self.total_bytes = 0
        self.error = ""
        self.cancelled = Event()
        self.ended = Event()


class Downloads:
    """What is being fetched, for all visitors; `version` grows with every change."""

    def __init__(self, models: Models) -> None:
        self.version = 0
        self._models = models
        self._begun: dict[str, Download] = {}
        self._beginning = Lock()

    @property
    def busy(self) -> bool:
        """Whether any file is on its way."""
        return any(one.active for one in list(self._begun.values()))

    def of(self, name: str) -> Download | None:
        """The last download of a model's file, under way or ended."""
        return self._begun.get(name)

    def begin(self, name: str) -> None:
        """Fetch a model's file in a thread, going on where an earlier attempt stopped."""
        with self._beginning:
            last = self._begun.get(name)
            if last is not None and last.active:
                return
            download = self._begun[name] = Download()
        arguments = (name, download)
        Thread(target=self._run, args=arguments, name="triptych-fetch", daemon=True).start()

    def cancel(self, name: str) -> None:
        """Stop fetching; what is here already stays for the next attempt."""
        if name in self._begun:
            self._begun[name].cancelled.set()

    def _run(self, name: str, download: Download) -> None:
        try:
            with closing(self._models.fetch(name)) as progress:  # type: ignore[type-var]
                for one in progress:
                    download.done_bytes, download.total_bytes = one.done_bytes, one.total_bytes
                    self.version += 1
                    if download.cancelled.is_set():
                        return
        except TriptychError as error:
            download.error = str(error)
        except Exception:
            logger.exception("%s could not be fetched", name)
            download.error = _DEFECT
        finally:
            download.active = False
            download.ended.set()
            self.version += 1


@st.cache_resource(show_spinner=False, hash_funcs={Models: id})
def downloads(models: Models) -> Downloads:
    """The downloads that all visitors of this process share."""
    return Downloads(models)


def draw_state(slot: DeltaGenerator, download: Download | None) -> None:
    """How far a model's file is, while it is not here."""
    if download is not None and download.active:
        slot.progress(_share(download), text=f"Fetching: {_megabytes(download)}")
        return
    said = ":gray-badge[:material/cloud_download: not fetched]"
    if download is not None and download.error:
        said += f"  \n:red[:material/error: {plain(download.error)}]"
    elif download is not None and download.done_bytes:
        said += f" :gray[{_megabytes(download)} are here]"
    slot.markdown(said)


def draw_button(fetching: Downloads, name: str, key: str) -> None:
    """Fetch, go on, or cancel."""
    download = fetching.of(name)
    if download is not None and download.active:
        label, icon, act = "Cancel", ":material/close:", fetching.cancel
    else:
        label = "Go on" if download is not None and download.done_bytes else "Fetch"
        icon, act = ":material/download:", fetching.begin
    st.button(
        label,
        key=f"model_fetch_{key}",
        icon=icon,
        type="tertiary",
        on_click=act,
        args=(name,),
    )


def form(services: Services, fetching: Downloads) -> None:
    """Fetch a GGUF file by its name at the hub."""
    with st.container(key="model_fetch"):
        st.markdown("**Fetch a model file**")
        st.caption(
            "A GGUF file of the model hub, by its name there. It is checked against the hub's "
            "checksum, and a download that was cut off goes on where it stopped."
        )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.text_input(
                "Name",
                key=_NAME,
                max_chars=LONGEST_NAME,
                placeholder="owner/repository/file.gguf",
                label_visibility="collapsed",
            )
            st.button(
                "Fetch",
                key="model_fetch_begin",
                type="primary",
                icon=":material/download:",
                on_click=_begin,
                args=(services, fetching),
            )
        if problem := st.session_state.pop(_PROBLEM, ""):
            st.error(plain(problem), icon=":material/error:")


def _begin(services: Services, fetching: Downloads) -> None:
    wanted = str(st.session_state.get(_NAME) or "").strip()
    name = PREFIX + wanted.removeprefix(PREFIX)
    try:
        parse(name)
        if name not in services.models.names():
            services.models.add(ModelRecord(name=name, base_url="", model=name))
    except TriptychError as error:
        st.session_state[_PROBLEM] = str(error)
        return
    fetching.begin(name)
    st.session_state[_NAME] = ""


def _share(download: Download) -> float:
    return min(download.done_bytes / download.total_bytes, 1.0) if download.total_bytes else 0.0


def _megabytes(download: Download) -> str:
    if not download.total_bytes:
        return "asking the hub …"
    return f"{download.done_bytes / 1e6:,.0f} of {download.total_bytes / 1e6:,.0f} MB"
