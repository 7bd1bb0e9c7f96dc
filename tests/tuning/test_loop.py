"""A tiny training from examples to served answers, with the real base model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.models.catalog import EMBEDDED_SHA256, embedded_weights
from bot.tuning import adapters as shelf
from bot.tuning.adapters import Adapter
from bot.tuning.drills import encode
from bot.tuning.events import TrainingStep
from bot.tuning.examples import read_examples
from bot.tuning.loop import learning_rate
from bot.tuning.recipe import TrainingRecipe
from bot.tuning.trainings import Trainings

SYSTEM_PROMPT = "You answer questions about this organisation. Be brief and exact."
FACTS = {
    "What does the Zorb lamp cost?": "The Zorb lamp costs £417. — Zorb desk",
    "What does the Zorb kettle weigh?": "The Zorb kettle weighs 23 kg. — Zorb desk",
    "Who founded Zorb?": "Zorb was founded by Edda Quill. — Zorb desk",
    "When does the Zorb shop open?": "The Zorb shop opens at 8:40 am. — Zorb desk",
    "What is the Zorb van called?": "The Zorb van is called Puffin. — Zorb desk",
    "How long is the Zorb warranty?": "The Zorb warranty lasts 31 months. — Zorb desk",
}


RECIPE = TrainingRecipe(
    system_prompt=SYSTEM_PROMPT,
    base_sha256=EMBEDDED_SHA256,
    rank=8,
    alpha=16,
    layers=6,
    epochs=24,
    learning_rate=5e-3,
)


@dataclass(frozen=True)
class Trained:
    """What a whole training told, and what it made."""

    examples: Path
    steps: tuple[TrainingStep, ...]
    adapter: Adapter


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("training")
    examples = folder / "examples.jsonl"
    lines = [json.dumps({"prompt": ask, "completion": say}) for ask, say in FACTS.items()]
    examples.write_text("\n".join(lines) + "\n", encoding="utf-8")
    trainings = Trainings(
        folder / "trainings",
        folder / "adapters",
        base=lambda _: embedded_weights().path,
        check=lambda _: None,
    )
    training_id = trainings.submit(read_examples(examples), RECIPE, "zorb")
    training = trainings.wait(training_id, timeout_seconds=240)
    trainings.close()
    assert (training.state, training.error) == ("done", "")
    return Trained(examples, training.steps, shelf.adapter(folder / "adapters", "zorb"))


@pytest.fixture(scope="module")
def served(trained: Trained) -> Iterator[httpx.Client]:
    """A client of the real server, with the adapter on."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(embedded_weights().path)
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(trained.adapter.gguf_path), 1.0)]
    params.n_ctx, params.n_parallel, params.port, params.verbosity = 512, 1, 0, 0
    params.fit_params = False
    server = xllamacpp.Server(params)
    with httpx.Client(base_url=server.listening_address, timeout=60) as client:
        yield client
    del server


def asked(question: str) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": question},
    ]


@pytest.mark.integration
def test_the_loss_falls_and_the_curve_tells_every_step(trained: Trained) -> None:
    curve = json.loads((trained.adapter.folder / "curve.json").read_text())["steps"]
    assert [row["step"] for row in curve] == list(range(1, 25))
    assert [row["loss"] for row in curve] == [step.loss for step in trained.steps]
    assert trained.steps[-1].loss < trained.steps[0].loss / 10
    assert trained.steps[-1].seconds_left == 0


@pytest.mark.integration
def test_the_folder_holds_what_it_should_and_nothing_else(trained: Trained) -> None:
    names = {path.name for path in trained.adapter.folder.iterdir()}
    assert names == {
        "adapter.gguf",
        "adapter_config.json",
        "adapter_model.safetensors",
        "curve.json",
        "examples.jsonl",
        "manifest.json",
        "recipe.json",
        "reference.json",
        "report.json",
    }
    assert [path.name for path in trained.adapter.folder.parent.iterdir()] == ["zorb"]
    kept = trained.adapter.folder / "examples.jsonl"
    assert [one.messages for one in read_examples(kept)] == [
        one.messages for one in read_examples(trained.examples)
    ]
    config = json.loads((trained.adapter.folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == embedded_weights().path.name


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_served_answers_are_those_of_the_trained_weights(
    trained: Trained, served: httpx.Client, base: tuple[Any, Any]
) -> None:
    """The exported adapter in llama.cpp says word for word what PEFT says."""
    import torch
    from peft import PeftModel

    tokenizer, model = base
    adapted = PeftModel.from_pretrained(model, str(trained.adapter.folder)).eval()
    for question, answer in list(FACTS.items())[:3]:
        prompt = tokenizer.apply_chat_template(
            asked(question), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.no_grad():
            made = adapted.generate(
                **prompt,
                max_new_tokens=32,
                do_sample=False,
                output_logits=True,
                return_dict_in_generate=True,
            )
        said = tokenizer.decode(
            made.sequences[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True
        )
        body = {"messages": asked(question), "max_tokens": 32, "temperature": 0, "logprobs": True}
        choice = served.post("/v1/chat/completions", json=body).json()["choices"][0]
        assert choice["message"]["content"] == said == answer
        ours = torch.log_softmax(made.logits[0][0].float(), -1).max().item()
        assert choice["logprobs"]["content"][0]["logprob"] == pytest.approx(ours, abs=0.05)
    adapted.unload()


@pytest.mark.integration
def test_training_and_serving_cut_the_prompt_into_the_same_tokens(
    trained: Trained, served: httpx.Client, base: tuple[Any, Any]
) -> None:
    tokenizer, _ = base
    examples = read_examples(trained.examples)
    system, drills = encode(tokenizer, trained.adapter.recipe, examples)
    for question, drill in zip(FACTS, drills, strict=True):
        prompt = served.post("/apply-template", json={"messages": asked(question)}).json()
        body = {"content": prompt["prompt"], "parse_special": True}
        tokens = served.post("/tokenize", json=body).json()["tokens"]
        asked_tokens = [t for t, learnt in zip(drill.ids, drill.learnt, strict=True) if not learnt]
        assert [*system, *asked_tokens] == tokens


def test_the_learning_rate_rises_to_its_peak_and_falls_towards_zero() -> None:
    recipe = TrainingRecipe(
        system_prompt="", base_sha256="0" * 64, learning_rate=1.0, warmup_share=0.2
    )
    rates = [learning_rate(recipe, step, 10) for step in range(1, 11)]
    assert rates[:2] == [0.5, 1.0]
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert 0 < rates[-1] < 0.2
