"""Adapters that a server loads and lets go of while it runs, as vLLM does.

The server must allow it (`VLLM_ALLOW_RUNTIME_LORA_UPDATING=1` and ``--enable-lora``; see "LoRA
Adapters" in vLLM's documentation). The path is one of the server's own disk, or a repository that
it may fetch from: nothing is uploaded.
"""

from __future__ import annotations

from bot.models.client import Endpoint, calling

_ABSENT = (
    "This server does not load adapters while it runs. Start vLLM with --enable-lora and "
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, or name the adapters when it starts."
)


async def load(endpoint: Endpoint, name: str, path: str) -> None:
    """Let the server load an adapter, which answers under its name from then on.

    Args:
        path: a folder of PEFT weights as the server sees it, or the name of a repository.

    Raises:
        ModelError: the server does not allow it, or cannot read the adapter.
    """
    await _ask(endpoint, "load_lora_adapter", {"lora_name": name, "lora_path": path})


async def unload(endpoint: Endpoint, name: str) -> None:
    """Let the server forget an adapter; its files stay.

    Raises:
        ModelError: the server does not allow it, or has none of that name.
    """
    await _ask(endpoint, "unload_lora_adapter", {"lora_name": name})


async def _ask(endpoint: Endpoint, path: str, body: dict[str, str]) -> None:
    async with calling(endpoint, absent=_ABSENT) as client:
        await client.post(f"/{path}", cast_to=str, body=body)
