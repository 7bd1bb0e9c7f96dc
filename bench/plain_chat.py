"""Streamlit's own chat recipe, one answer at a time: what `bench.page` sets Triptych's page beside.

The answers so far are drawn again at every question, the next one by `st.write_stream`.
"""

from __future__ import annotations

from uuid import uuid4

import streamlit as st
from openai import OpenAI

client = OpenAI()
turns = st.session_state.setdefault("turns", [])
for asked, answered in turns:
    st.chat_message("user").write(asked)
    st.chat_message("assistant").write(answered)
if question := st.chat_input("Ask"):
    st.chat_message("user").write(question)
    with st.chat_message("assistant"), st.container(key=f"card-plain-{uuid4().hex}"):
        stream = client.chat.completions.create(
            model="scripted", messages=[{"role": "user", "content": question}], stream=True
        )
        answer = st.write_stream(stream)
        st.caption("done")
    turns.append((question, answer))
