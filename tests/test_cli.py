"""The command line as a script sees it: real processes, documents, exit statuses."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.chat.strategies import STRATEGIES
from bot.servers import Servers
from bot.settings import ROOT
from bot.testing import Reply, ScriptedModel
from tests.models.gguf_files import write_gguf
from tests.models.web import Answer, Call, serving

ANSWER_FIELDS = {
    "strategy",
    "model",
    "adapter",
    "status",
    "text",
    "evidence",
    "first_token_seconds",
    "total_seconds",
    "prompt_tokens",
    "answer_tokens",
    "cost_dollars",
    "fingerprint",
    "error",
}
FINGERPRINT_FIELDS = {
    "weights",
    "adapter",
    "prompt_sha256",
    "passage_ids",
    "sampling",
    "seed",
}
TEA = """# Tea room

The tea room of Morrow Hall opens at 6:45 am. It closes when the bell named Clementine rings.

## Biscuits

Each guest may take four ginger biscuits. A fifth biscuit costs 35 pence.
"""
BOATS = "The boat house of Morrow Hall keeps nine canoes. The green canoe is called Persimmon.\n"


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    status: int
    output: str
    errors: str

    @property
    def document(self) -> Any:
        return json.loads(self.output)


@dataclass(frozen=True)
class Home:
    """A data directory with a knowledge folder, and the command line on it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "TRIPTYCH_DATA_DIR": str(self.folder / "data"),
            "TRIPTYCH_KNOWLEDGE_DIR": str(self.folder / "knowledge"),
            "TRIPTYCH_ADAPTERS_DIR": str(self.folder / "adapters"),
            "OMP_NUM_THREADS": "1",
            "PYTHONIOENCODING": "utf-8",
        }

    def run(self, *arguments: str, **variables: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "bot", *arguments],
            cwd=ROOT,
            env=self.environment | variables,
            capture_output=True,
            encoding="utf-8",
            timeout=240,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)


def make_home(folder: Path) -> Home:
    (folder / "knowledge").mkdir()
    (folder / "adapters").mkdir()
    (folder / "knowledge" / "tea.md").write_text(TEA, encoding="utf-8")
    return Home(folder)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose servers outlive each command, as they do beside a running page."""
    made = make_home(tmp_path_factory.mktemp("home"))
    with closing(Servers.open(made.folder / "data")):
        yield made


@pytest.fixture
def bare(tmp_path: Path) -> Home:
    """A home on which no server is ever needed."""
    return make_home(tmp_path)


def process_of(home: Home, server: str) -> int | None:
    with closing(Servers.open(home.folder / "data")) as servers:
        return next((one.pid for one in servers.status() if one.name == server), None)


# ---------------------------------------------------------------- real parts


@pytest.mark.integration
def test_ask_indexes_a_fresh_library_and_answers_with_evidence(home: Home) -> None:
    question = "When does the tea room of Morrow Hall open?"
    ran = home.run(
        *("ask", question, "--strategy", "rag", "--strategy", "prompt", "--json"),
        *("--max-tokens", "40", "--seed", "11"),
    )
    assert ran.status == 0, ran.errors
    assert "tea.md: ready" in ran.errors
    document = ran.document
    assert set(document) == {"question", "answers"}
    assert document["question"] == question
    assert [one["strategy"] for one in document["answers"]] == ["rag", "prompt"]
    rag, prompt = document["answers"]
    for answer in (rag, prompt):
        assert set(answer) == ANSWER_FIELDS
        assert set(answer["fingerprint"]) == FINGERPRINT_FIELDS
        assert answer["status"] == "complete"
        assert answer["error"] is None
        assert answer["text"]
        assert 0 < answer["first_token_seconds"] <= answer["total_seconds"]
        assert answer["prompt_tokens"] > 0
        assert 0 < answer["answer_tokens"] <= 40
        assert answer["fingerprint"]["adapter"] is None
        assert answer["fingerprint"]["seed"] == 11
        assert answer["fingerprint"]["sampling"] == {"temperature": 0.0, "max_tokens": 40}
    best = rag["evidence"][0]
    assert set(best) == {"document", "quote", "score"}
    assert best["document"] == "tea.md"
    assert "6:45 am" in best["quote"]
    assert best["quote"] in TEA
    assert rag["fingerprint"]["passage_ids"]
    assert prompt["evidence"] == []
    assert prompt["fingerprint"]["passage_ids"] == []


@pytest.mark.integration
def test_one_failing_strategy_spares_the_rest_but_not_the_exit_status(home: Home) -> None:
    home.run("ask", "Hello?", "--strategy", "prompt", "--max-tokens", "4")
    before = process_of(home, "model")
    ran = home.run(
        *("ask", "Hello?", "--strategy", "adapter", "--strategy", "prompt"),
        *("--max-tokens", "8", "--json"),
    )
    assert ran.status == 1
    adapter, prompt = ran.document["answers"]
    assert adapter["status"] == "failed"
    assert "adapter" in adapter["error"]
    assert adapter["fingerprint"] is None
    assert prompt["status"] == "complete"
    assert "Traceback" not in ran.errors
    assert before is not None
    assert process_of(home, "model") == before, "two processes must share one model server"


@pytest.mark.integration
def test_documents_are_ingested_found_listed_and_forgotten(home: Home) -> None:
    boats = home.folder / "boats.txt"
    boats.write_text(BOATS, encoding="utf-8")
    broken = home.folder / "broken.pdf"
    broken.write_bytes(b"this is no PDF")
    ingested = home.run("ingest", str(boats), str(broken), "--json")
    assert ingested.status == 1
    rows = {one["name"]: one for one in ingested.document["documents"]}
    assert set(rows["boats.txt"]) == {"name", "status", "passages", "error"}
    assert (rows["boats.txt"]["status"], rows["boats.txt"]["error"]) == ("ready", None)
    assert rows["boats.txt"]["passages"] >= 1
    assert rows["broken.pdf"]["status"] == "failed"
    assert rows["broken.pdf"]["error"]

    found = home.run("search", "What is the green canoe called?", "--top", "1", "--json")
    assert found.status == 0
    (passage,) = found.document["passages"]
    assert set(passage) == {
        *("document", "heading", "text", "quote", "score", "dense_score", "keyword_score"),
    }
    assert passage["document"] == "boats.txt"
    assert "Persimmon" in passage["quote"]
    assert passage["dense_score"] > 0.5
    assert passage["keyword_score"] > 0

    forgotten = home.run("forget", "boats.txt", "--json")
    assert (forgotten.status, forgotten.document["status"]) == (0, "removed")
    assert not (home.folder / "knowledge" / "boats.txt").exists()
    left = home.run("documents", "--json")
    assert "boats.txt" not in {one["name"] for one in left.document["documents"]}

    again = home.run("forget", "boats.txt", "--json")
    assert again.status == 1
    assert "boats.txt" in again.document["error"]
    assert "boats.txt" in again.errors


@pytest.mark.integration
def test_ctrl_c_ends_a_command_cleanly(tmp_path: Path) -> None:
    interrupted = make_home(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "bot", "ask", "Hello?", "--json"],
        cwd=ROOT,
        env=interrupted.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        # a shell starts what runs in the background with Ctrl-C ignored, this suite perhaps, too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr
    said = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert "The index is empty" in said
    assert process.returncode == 130
    assert "Interrupted." in errors
    assert "Traceback" not in errors
    assert output == ""


# ---------------------------------------------------------------- no server needed


def test_a_wrong_command_line_exits_with_2_and_says_how(bare: Home) -> None:
    for arguments in (
        ("ask", "Hello?", "--strategy", "magic"),
        ("ask",),
        ("ask", "Hello?", "--temperature", "9"),
        ("ask", "Hello?", "--max-tokens", "many"),
        ("sing",),
        (),
    ):
        ran = bare.run(*arguments)
        assert (ran.status, ran.output) == (2, ""), arguments
        assert "--help" in ran.errors
        assert "Traceback" not in ran.errors
        assert len(ran.errors.strip().splitlines()) == 1


def test_an_unknown_strategy_is_answered_with_the_known_ones_as_json(bare: Home) -> None:
    ran = bare.run("ask", "Hello?", "--strategy", "magic", "--json")
    assert ran.status == 2
    assert set(ran.document) == {"error"}
    for one in STRATEGIES:
        assert one.name in ran.document["error"]


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (("ask", "  "), {}, "question is empty"),
        (("ask", "Hello?"), {"TRIPTYCH_SEED": "soon"}, "TRIPTYCH_SEED"),
        (("train", "missing.jsonl", "--name", "mine"), {}, "missing.jsonl"),
    ],
)
def test_an_error_is_one_sentence_and_one_document(
    bare: Home, arguments: tuple[str, ...], variables: dict[str, str], said: str
) -> None:
    ran = bare.run(*arguments, "--json", **variables)
    assert ran.status == 1
    assert set(ran.document) == {"error"}
    assert said in ran.document["error"]
    assert said in ran.errors
    assert "Traceback" not in ran.errors


def test_a_wrong_training_example_is_named_by_its_line(bare: Home) -> None:
    examples = bare.folder / "examples.jsonl"
    examples.write_text('{"prompt": "a", "completion": "b"}\n{"prompt": 3}\n', encoding="utf-8")
    ran = bare.run("train", str(examples), "--name", "mine", "--json")
    assert ran.status == 1
    assert "Line 2" in ran.document["error"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "epochs=many"), "'many' is no int"),
        (("--set", "dropuot=0.1"), "known are rank"),
        ((), "--name are needed"),
    ],
)
def test_a_wrong_training_is_told_before_anything_starts(
    bare: Home, arguments: tuple[str, ...], said: str
) -> None:
    examples = bare.folder / "examples.csv"
    examples.write_text("question,answer\nWhat colour?,Green.\n", encoding="utf-8")
    name = ("--name", "mine") if arguments else ()
    ran = bare.run("train", str(examples), *name, *arguments, "--json")
    assert ran.status == 2
    assert said in ran.document["error"]
    assert bare.run("trainings", "--json").document == {"trainings": []}


def test_a_learning_curve_needs_examples_and_enough_of_them(bare: Home) -> None:
    assert bare.run("train", "--curve", "--json").status == 2
    examples = bare.folder / "examples.csv"
    examples.write_text("question,answer\nWhat colour?,Green.\n", encoding="utf-8")
    ran = bare.run("train", str(examples), "--curve", "--json")
    assert ran.status == 1
    assert "at least 8 examples; there are 1" in ran.document["error"]


def test_a_training_that_is_not_there_cannot_be_resumed(bare: Home) -> None:
    ran = bare.run("train", "--resume", "20260102-030405-678", "--json")
    assert ran.status == 1
    assert "There is no training 20260102-030405-678" in ran.document["error"]


def test_adapters_are_listed_valid_and_broken(bare: Home) -> None:
    assert bare.run("adapters", "--json").document == {"adapters": [], "broken": []}
    (bare.folder / "adapters" / "half").mkdir()
    (bare.folder / "adapters" / "half" / "recipe.json").write_text("{}")
    listed = bare.run("adapters", "--json").document
    assert [one["name"] for one in listed["broken"]] == ["half"]


@pytest.mark.skipif(
    not (ROOT / "adapters" / "pellworth" / "recipe.json").exists(), reason="it is not trained yet"
)
def test_the_shipped_adapter_is_listed_with_its_recipe(bare: Home) -> None:
    ran = bare.run("adapters", "--json", TRIPTYCH_ADAPTERS_DIR=str(ROOT / "adapters"))
    (shipped,) = ran.document["adapters"]
    assert shipped["name"] == "pellworth"
    assert shipped["recipe"]["rank"] > 0
    assert (shipped["state"], shipped["reason"]) == ("offered", None)
    assert ran.document["broken"] == []


def test_an_adapter_is_exported_imported_checked_and_deleted(bare: Home) -> None:
    adapters = bare.folder / "adapters"
    shutil.copytree(ROOT / "adapters" / "pellworth", adapters / "pellworth")
    out = bare.folder / "p.zip"
    ran = bare.run("adapters", "export", "pellworth", "--as", "peft", str(out), "--json")
    assert ran.document["size_bytes"] == out.stat().st_size
    taken = bare.run("adapters", "import", str(out), "--name", "pellworth", "--json")
    assert (taken.status, "There is an adapter named" in taken.document["error"]) == (1, True)
    (bare.folder / "no.zip").write_bytes(b"PK")
    ran = bare.run("adapters", "import", str(bare.folder / "no.zip"), "--name", "no", "--json")
    assert "damaged" in ran.document["error"]
    ran = bare.run("adapters", "delete", "pellworth", "--json")
    assert ran.document == {"name": "pellworth", "status": "removed"}
    assert not (adapters / "pellworth").exists()
    ran = bare.run("adapters", "check", "pellworth", "--json")
    assert "There is no adapter named pellworth" in ran.document["error"]


def test_help_names_every_command_and_loads_nothing_heavy(bare: Home) -> None:
    ran = bare.run("--help")
    assert ran.status == 0
    commands = ("ask", "ingest", "search", "documents", "forget", "train", "adapters", "doctor")
    for command in commands:
        assert command in ran.output
        assert bare.run(command, "--help").output.startswith(f"usage: python -m bot {command}")
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, bot.cli; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    heavy = {"streamlit", "pydantic", "sqlalchemy", "openai", "torch", "chromadb", "numpy"}
    assert heavy.isdisjoint(loaded)


def test_what_libraries_print_stays_out_of_standard_output() -> None:
    script = (
        "import os, sys\n"
        "from bot import cli, commands\n"
        "def noisy(options, output):\n"
        "    os.write(1, b'native noise\\n')\n"
        "    print('python noise')\n"
        "    return commands.Outcome({'version': 'quiet'})\n"
        "commands.run_version = noisy\n"
        "status = cli.main(['--version'])\n"
        "print('afterwards')\n"
        "sys.exit(status)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0
    assert ran.stdout == "Triptych quiet\nafterwards\n"
    assert "native noise" in ran.stderr
    assert "python noise" in ran.stderr


# ---------------------------------------------------------------- other models


def test_two_models_answer_side_by_side(bare: Home) -> None:
    with ScriptedModel(always=Reply("Nine canoes.")) as server:
        variables = {
            "OPENAI_BASE_URL": server.endpoint().base_url,
            "OPENAI_API_KEY": server.endpoint().key,
            "TRIPTYCH_MODEL": "openai:first",
        }
        asked = ("ask", "How many?", "--strategy", "prompt", "--json")
        both = bare.run(*asked, "--model", "openai:first", "--model", "openai:b", **variables)

    assert both.status == 0
    assert [one["text"] for one in both.document["answers"]] == ["Nine canoes."] * 2
    assert [(one["strategy"], one["model"]) for one in both.document["answers"]] == [
        ("prompt", "openai:first"),
        ("prompt", "openai:b"),
    ]
    assert {one.model for one in server.requests} == {"first", "b"}


def test_models_are_listed_with_what_is_wrong_with_them(bare: Home) -> None:
    with ScriptedModel(always=Reply("Hello there.")) as server:
        variables = {
            "OPENAI_BASE_URL": server.endpoint().base_url,
            "OPENAI_API_KEY": server.endpoint().key,
            "TRIPTYCH_MODEL": "openai:scripted",
            "TRIPTYCH_MODELS": "gguf:/no/such/file.gguf",
        }
        done = bare.run("models", "--json", **variables)

    found = {one["name"]: one for one in done.document["models"]}
    assert list(found) == ["openai:scripted", "gguf:/no/such/file.gguf", "embedded"]
    assert found["openai:scripted"]["main"]
    assert found["openai:scripted"]["reachable"]
    assert "no file" in found["gguf:/no/such/file.gguf"]["detail"]
    assert done.status == 1


def test_a_model_is_fetched_from_a_hub(bare: Home, tmp_path: Path) -> None:
    content = write_gguf(tmp_path / "kiln.gguf").read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    promise = {"ETag": f'"{sha256}"', "X-Linked-Size": str(len(content))}

    def hub(call: Call) -> Answer:
        whole = {**promise, "X-Repo-Commit": "c" * 40}
        return Answer(body=content, headers=whole)

    with serving(hub) as site:
        name = "hf:kilns/small/kiln.gguf"
        done = bare.run("fetch", name, "--json", TRIPTYCH_HUB_URL=site.base_url)

    assert done.document == {
        "name": name,
        "sha256": sha256,
        "size_bytes": len(content),
        "context_tokens": 2048,
    }
