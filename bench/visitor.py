"""A visitor without a browser: speaks to a page over Streamlit's WebSocket, as its front end does.

A browser takes 100 MB and half a core, so fifty of them say more about the machine than about the
page. Everything up to the last byte before the browser is real.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Checkbox_pb2 import Checkbox
from streamlit.proto.Common_pb2 import DoubleArray
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.Slider_pb2 import Slider
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect

LARGEST_MESSAGE_BYTES = 64 << 20
_FRAGMENT_FINISHED = ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY
_FINISHED = {ForwardMsg.FINISHED_SUCCESSFULLY, _FRAGMENT_FINISHED}
_STAMP = re.compile(r"\b\d{10,}\b")
_FAILED = re.compile(r":red-badge\[[^\]]*failed\]|Traceback")


@dataclass
class Visitor:
    """One tab. What the page sends is read all the time; figures are kept, the page is not.

    Args:
        delays_seconds: of every stamped token (see `bot.testing.Reply`): from the model's sending
            it to its arrival here.
        errors: what the page said went wrong.
        finished_runs: how often the page's script, or a fragment of it, ran to its end.
        fragment_runs: how many of these were of a fragment.
    """

    socket: ClientConnection
    delays_seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    finished_runs: int = 0
    fragment_runs: int = 0
    query: str = ""
    _input: str = ""
    _fragment: str = ""
    _widgets: dict[str, WidgetState] = field(default_factory=dict)
    _asked_at: int = 0
    _seen: set[int] = field(default_factory=set)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def load(self) -> None:
        """Load the page, and wait until there is an input to type into."""
        await self._run_script()
        await self._until(lambda: bool(self._input) and self.finished_runs > 0)

    async def ask(self, question: str) -> None:
        """Ask, and wait until every card has its answer."""
        runs = self.finished_runs
        self._asked_at = time.monotonic_ns()
        self._seen.clear()
        await self._run_script(question)
        await self._until(lambda: self.finished_runs > runs)

    async def _run_script(self, question: str = "") -> None:
        message = BackMsg()
        message.rerun_script.query_string = self.query
        message.rerun_script.widget_states.widgets.extend(self._widgets.values())
        if question:
            message.rerun_script.fragment_id = self._fragment
            widget = message.rerun_script.widget_states.widgets.add()
            widget.id = self._input
            widget.chat_input_value.data = question
        await self.socket.send(message.SerializeToString())

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(condition)

    async def read(self) -> None:
        """Take in what the page sends until the connection ends."""
        async for data in self.socket:
            now = time.monotonic_ns()
            message = ForwardMsg.FromString(data if isinstance(data, bytes) else data.encode())
            async with self._changed:
                self._take(message, now)
                self._changed.notify_all()

    def _take(self, message: ForwardMsg, now: int) -> None:
        match message.WhichOneof("type"):
            case "script_finished":
                self.finished_runs += message.script_finished in _FINISHED
                self.fragment_runs += message.script_finished == _FRAGMENT_FINISHED
                if message.script_finished == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
                    self.errors.append("the page's script cannot be compiled")
            case "page_info_changed":
                self.query = message.page_info_changed.query_string
            case "delta":
                element = message.delta.new_element
                match element.WhichOneof("type"):
                    case "chat_input":
                        self._input = element.chat_input.id
                        self._fragment = message.delta.fragment_id
                    case "checkbox":
                        box = element.checkbox
                        self._set(box, bool_value=box.value if box.set_value else box.default)
                    case "slider":
                        slider = element.slider
                        numbers = slider.value if slider.set_value else slider.default
                        self._set(slider, double_array_value=DoubleArray(data=numbers))
                    case "exception":
                        self.errors.append(element.exception.message)
                    case "markdown":
                        self._read(element.markdown.body, now)

    def _set(self, widget: Checkbox | Slider, **value: Any) -> None:
        """Keep what a widget says, to be sent with every question; it may have been told before."""
        if widget.set_value or widget.id not in self._widgets:
            self._widgets[widget.id] = WidgetState(id=widget.id, **value)

    def _read(self, body: str, now: int) -> None:
        if found := _FAILED.search(body):
            self.errors.append(found[0])
        for stamp in map(int, _STAMP.findall(body)):
            if stamp > self._asked_at and stamp not in self._seen:
                self._seen.add(stamp)
                self.delays_seconds.append((now - stamp) / 1e9)


@asynccontextmanager
async def visit(address: str, query: str = "") -> AsyncGenerator[Visitor]:
    """Open a tab at the address of a running app; closed at the end of the block.

    Args:
        query: of the page's address, which carries switches (``use-rag=false``).
    """
    host = address.removeprefix("http://")
    async with connect(
        f"ws://{host}/_stcore/stream",
        origin=f"http://{host}",  # type: ignore[arg-type]
        subprotocols=["streamlit"],  # type: ignore[list-item]
        max_size=LARGEST_MESSAGE_BYTES,
        proxy=None,
    ) as socket:
        visitor = Visitor(socket, query=query)
        reading = asyncio.create_task(visitor.read())
        try:
            yield visitor
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
