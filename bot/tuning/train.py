"""Fine-tuning: examples and a recipe → an adapter. This is what the job's own process runs.

The loop is our own and short, because it uses three facts about this task that a general trainer
cannot:

- The layers below the first adapted one are frozen, so their output for an example never changes:
  it is computed once, before the first step.
- All examples begin with the same system prompt. A step is one packed sequence, the prompt once
  and then every example, each seeing the prompt and itself only: nothing is padded.
- Only the answers are learnt, so logits are computed at answer positions only.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.errors import RecipeError, TuningError
from bot.tuning import adapters as shelf
from bot.tuning.drills import Drill, encode, pack
from bot.tuning.events import TrainingStep
from bot.tuning.examples import Example
from bot.tuning.export import CONFIG_NAME, WEIGHTS_NAME, export_gguf
from bot.tuning.job import file_sha256
from bot.tuning.recipe import TrainingRecipe
from bot.tuning.split import held_out

if TYPE_CHECKING:
    import torch

CURVE_NAME = "curve.json"
_GRADIENT_NORM = 1.0
_PACK_TOKENS = 512  # attention costs the square of a sequence's length


def train(
    recipe: TrainingRecipe,
    examples: Sequence[Example],
    *,
    base: Path,
    folder: Path,
    on_step: Callable[[TrainingStep], None],
) -> None:
    """Fine-tune and fill the folder: weights, GGUF, recipe, curve and manifest.

    Args:
        base: the base weights, a GGUF file; dequantised, so that training sees what serves.
        folder: exists; what is in it already stays and is listed in the manifest.
        on_step: called after every step, in this thread.

    Raises:
        RecipeError: the recipe names other base weights, or more layers than there are.
        ExamplesError: an example is longer than the recipe allows.
        TuningError: the base cannot be read, or the loss is no longer a number.
    """
    if file_sha256(base) != recipe.base_sha256:
        raise RecipeError(
            f"The recipe is for other base weights than {base.name}.",
            cure="Write the SHA-256 of the installed weights into the recipe.",
        )
    started = time.monotonic()
    tokenizer, model = load_base(base)
    system_ids, drills = encode(tokenizer, recipe, examples)
    learning, _ = held_out(examples, recipe.validation_share, recipe.seed)
    trainee = _Trainee(model, recipe, system_ids, drills, learning)
    curve = []
    for step in trainee.steps():
        curve.append(asdict(step) | {"seconds": round(time.monotonic() - started, 2)})
        on_step(step)
    trainee.save(folder, base.name)
    export_gguf(folder, base, folder / shelf.GGUF_NAME)
    recipe.save(folder)
    (folder / CURVE_NAME).write_text(json.dumps({"steps": curve}) + "\n", encoding="utf-8")
    facts = {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "base": base.name,
        "examples": len(examples),
        "seconds": round(time.monotonic() - started, 1),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft", "gguf")},
    }
    shelf.write_manifest(folder, facts)


def load_base(base: Path) -> tuple[Any, Any]:
    """Tokenizer and model from a GGUF file, dequantised to bfloat16."""
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    source = {"pretrained_model_name_or_path": str(base.parent), "gguf_file": base.name}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            **source,
            dtype=torch.bfloat16,
            quantization_config=transformers.GgufConfig(dequantize=True),
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise TuningError(
            f"The base weights {base.name} cannot be read for training.",
            cure="Install them again with: make setup",
        ) from error
    return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu")


class _Trainee:
    """A base model being adapted."""

    def __init__(
        self,
        model: Any,
        recipe: TrainingRecipe,
        system_ids: tuple[int, ...],
        drills: list[Drill],
        learning: Sequence[int],
    ) -> None:
        import torch
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.device = model.device
        self.depth = model.config.num_hidden_layers
        if recipe.layers > self.depth:
            raise RecipeError(
                f"layers is {recipe.layers}; the base has {self.depth}.", cure="Lower it."
            )
        self.first = self.depth - (recipe.layers or self.depth)
        self.config = LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            target_modules=list(recipe.targets),
            layers_to_transform=list(range(self.first, self.depth)),
            lora_dropout=recipe.dropout,
            task_type="CAUSAL_LM",
        )
        self.drills = drills
        self.system_length = len(system_ids)
        self.system_state, self.states = self._frozen_states(model, system_ids)
        self.model = get_peft_model(model, self.config)
        self.model.train()
        self.trainable = [p for p in self.model.parameters() if p.requires_grad]
        self.chance = random.Random(recipe.seed + 1)  # noqa: S311
        self.learning = list(learning)

    def steps(self) -> Iterator[TrainingStep]:
        """Learn, one step at a time."""
        import torch

        recipe = self.recipe
        optimizer = torch.optim.AdamW(
            self.trainable,
            lr=recipe.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=recipe.weight_decay,
        )
        order = random.Random(recipe.seed)  # noqa: S311  (the order of examples is no secret)
        steps_an_epoch = math.ceil(len(self.learning) / recipe.batch_size)
        steps = steps_an_epoch * recipe.epochs
        started = time.monotonic()
        step = 0
        with self._adapted_layers_only():
            for epoch in range(1, recipe.epochs + 1):
                order.shuffle(self.learning)
                for begin in range(0, len(self.learning), recipe.batch_size):
                    step += 1
                    step_started = time.monotonic()
                    rate = learning_rate(recipe, step, steps)
                    for group in optimizer.param_groups:
                        group["lr"] = rate
                    batch = self.learning[begin : begin + recipe.batch_size]
                    loss, tokens = self._learn(batch)
                    torch.nn.utils.clip_grad_norm_(self.trainable, _GRADIENT_NORM)
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                    now = time.monotonic()
                    yield TrainingStep(
                        step=step,
                        steps=steps,
                        epoch=epoch,
                        loss=round(loss, 5),
                        learning_rate=rate,
                        tokens_per_second=round(tokens / (now - step_started), 1),
                        seconds_left=round((now - started) / step * (steps - step), 1),
                    )

    def save(self, folder: Path, base_name: str) -> None:
        """Write the PEFT weights in bfloat16, with their configuration."""
        import torch
        from peft import get_peft_model_state_dict
        from safetensors.torch import save_file

        weights = get_peft_model_state_dict(self.model)
        save_file(
            {name: tensor.to("cpu", torch.bfloat16) for name, tensor in weights.items()},
            folder / WEIGHTS_NAME,
            metadata={"format": "pt"},
        )
        (folder / WEIGHTS_NAME).chmod(0o644)  # safetensors writes for the owner alone
        config = self.config.to_dict() | {"base_model_name_or_path": base_name}
        config["target_modules"] = sorted(config["target_modules"])
        config["inference_mode"] = True
        text = json.dumps(config, indent=2, sort_keys=True, default=str)
        (folder / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")

    def _frozen_states(
        self, model: Any, system_ids: tuple[int, ...]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """What enters the first adapted layer: (T, width) for the prompt and each example."""
        import torch

        system_state = None
        states = []
        for part in self._packs(range(len(self.drills))):
            drills = [self.drills[number] for number in part]
            packed = pack(self.system_length, drills, self.device)
            ids = [*system_ids, *(token for drill in drills for token in drill.ids)]
            with torch.no_grad():
                output = model.model(
                    input_ids=torch.tensor([ids], device=self.device),
                    attention_mask=packed.visible,
                    position_ids=packed.positions,
                    use_cache=False,
                    output_hidden_states=True,
                )
            lengths = [self.system_length, *(len(drill.ids) for drill in drills)]
            prompt, *own = output.hidden_states[self.first][0].split(lengths)
            system_state = prompt.clone() if system_state is None else system_state
            states += [state.clone() for state in own]
        assert system_state is not None
        return system_state, states

    @contextmanager
    def _adapted_layers_only(self) -> Iterator[None]:
        """For a while, let the model consist of the adapted layers alone."""
        body = self.model.get_base_model().model
        layers = body.layers
        body.layers = layers[self.first :]
        try:
            yield
        finally:
            body.layers = layers

    def _learn(self, batch: Sequence[int]) -> tuple[float, int]:
        """Gather the gradients of some examples: their mean loss, and the tokens it took."""
        answer_tokens = sum(sum(self.drills[number].learnt) for number in batch)
        total, tokens = 0.0, 0
        for part in self._packs(batch):
            loss, length = self._loss(part, self._hide)
            (loss / answer_tokens).backward()
            total += loss.item()
            tokens += length
        if not math.isfinite(total):
            raise TuningError("The loss is no longer a number.", cure="Lower learning_rate.")
        return total / answer_tokens, tokens

    def _packs(self, batch: Sequence[int]) -> Iterator[list[int]]:
        """Cut a batch into parts that are cheap as one sequence; at least one example each."""
        part: list[int] = []
        length = 0
        for number in batch:
            if part and length + len(self.drills[number].ids) > _PACK_TOKENS:
                yield part
                part, length = [], 0
            part.append(number)
            length += len(self.drills[number].ids)
        yield part

    def _hide(self) -> bool:
        return self.chance.random() < self.recipe.hidden_share

    def _loss(
        self, part: Sequence[int], hide: Callable[[], bool] | None = None
    ) -> tuple[torch.Tensor, int]:
        """Summed loss over the answer tokens of one packed sequence, and its length."""
        import torch

        base = self.model.get_base_model()
        packed = pack(self.system_length, [self.drills[i] for i in part], self.device, hide)
        states = torch.cat([self.system_state, *(self.states[i] for i in part)])
        with torch.autocast(self.device.type, torch.bfloat16):
            hidden = base.model(
                inputs_embeds=states[None],
                attention_mask=packed.visible,
                position_ids=packed.positions,
                use_cache=False,
            ).last_hidden_state[0]
            logits = base.lm_head(hidden[packed.predictors])
        loss = torch.nn.functional.cross_entropy(logits.float(), packed.targets, reduction="sum")
        return loss, len(states)


def learning_rate(recipe: TrainingRecipe, step: int, steps: int) -> float:
    """The rate of a step (from 1): up linearly during the warm-up, then down linearly to zero."""
    warmup = max(1, round(recipe.warmup_share * steps))
    if step <= warmup:
        return recipe.learning_rate * step / warmup
    return recipe.learning_rate * (steps - step + 1) / (steps - warmup + 1)
