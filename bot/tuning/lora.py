"""A base model being adapted: PEFT's low-rank matrices, learnt on examples laid end to end.

Four facts about this task make it bearable on an ordinary processor; a general trainer cannot use
them:

- The layers below the first adapted one are frozen, so their output for an example never changes:
  it is computed once.
- All examples begin with the same system prompt, which is computed once a sequence.
- Only the answers are learnt, so logits are computed at answer positions only.
- Sequences are independent until their gradients are added, so each core computes one of its own
  instead of sharing every small product with the others.
"""

from __future__ import annotations

import json
import math
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.errors import RecipeError, TuningError
from bot.tuning.drills import Drill, Pack, even_parts, pack
from bot.tuning.export import CONFIG_NAME, WEIGHTS_NAME
from bot.tuning.operations import answer_loss, attend_in_rows, project
from bot.tuning.recipe import TrainingRecipe

if TYPE_CHECKING:
    import torch

_PACK_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Judged:
    """What the model makes of an answer that it is shown.

    Args:
        loss: summed negative log-likelihood of the answer's tokens, in nats.
        tokens: of the answer.
        likeliest: how many of them are the likeliest after those before them.
    """

    loss: float
    tokens: int
    likeliest: int

    @property
    def word_for_word(self) -> bool:
        """Whether the greedy answer is this one."""
        return self.likeliest == self.tokens


def training_dtype() -> torch.dtype:
    """bfloat16 where the processor multiplies it in hardware, float32 elsewhere."""
    import torch

    fast = torch.cuda.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if fast else torch.float32


@contextmanager
def one_core_each() -> Iterator[ThreadPoolExecutor]:
    """As many threads as there are cores, each of which computes alone on one of them.

    What comes out does then not depend on how many there are.
    """
    import torch

    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(1 if torch.cuda.is_available() else cores) as pool:
            yield pool
    finally:
        torch.set_num_threads(cores)


class AdaptedModel:
    """A base model with low-rank matrices, and the examples that it learns and is asked.

    Args:
        model: the base, as `read_model` gives it; it is changed.
        drills: the examples; they are named by their numbers from here on.
        cores: where sequences are computed, from `one_core_each`.
    """

    def __init__(
        self,
        model: Any,
        recipe: TrainingRecipe,
        system_ids: Sequence[int],
        drills: Sequence[Drill],
        cores: ThreadPoolExecutor,
    ) -> None:
        from peft import LoraConfig, get_peft_model
        from transformers import AttentionInterface

        depth = model.config.num_hidden_layers
        if recipe.layers > depth:
            raise RecipeError(f"layers is {recipe.layers}; the base has {depth}.", cure="Lower it.")
        first = depth - (recipe.layers or depth)
        self._config = LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            target_modules=list(recipe.targets),
            layers_to_transform=list(range(first, depth)),
            lora_dropout=recipe.dropout,
            task_type="CAUSAL_LM",
        )
        self._recipe = recipe
        self._drills = drills
        self._cores = cores
        self._prompt_length = len(system_ids)
        self._device = model.device
        self._body = model.model
        self._head = model.lm_head.weight
        AttentionInterface.register(attend_in_rows.__name__, attend_in_rows)
        model.config._attn_implementation = attend_in_rows.__name__
        self._prompt_state, self._states = self._frozen_states(system_ids, first)
        self._adapted_layers = self._body.layers[first:]
        self._model = get_peft_model(model, self._config)
        self._projections = [
            _Projection(one, recipe.dropout)
            for one in self._model.modules()
            if hasattr(one, "lora_A")
        ]
        self.weights = self._fresh_weights()
        self.weights_changed()

    def _fresh_weights(self) -> torch.nn.Parameter:
        """All low-rank matrices in a row, as PEFT begins them: one half random, the other zero."""
        import torch

        chance = torch.Generator().manual_seed(self._recipe.seed)
        parts = []
        for projection in self._projections:
            bound = projection.down_shape[1] ** -0.5
            down = torch.empty(projection.down_shape).uniform_(-bound, bound, generator=chance)
            parts += [down.flatten(), torch.zeros(math.prod(projection.up_shape))]
        return torch.nn.Parameter(torch.cat(parts).to(self._device))

    def begin_again(self) -> None:
        """Forget what was learnt."""
        self.weights = self._fresh_weights()
        self.weights_changed()

    def weights_changed(self) -> None:
        """Let the projections use what `weights` holds now; to be called after every change."""
        left = self.weights.detach()
        for projection in self._projections:
            left = projection.take(left)

    def learn(self, batch: Sequence[int], step: int) -> float:
        """Put the gradients of some examples into `weights.grad`; returns their mean loss in nats.

        What is hidden and dropped depends on the recipe's seed and the step alone.

        Raises:
            TuningError: the loss is no longer a number.
        """
        import torch

        drills = [self._drills[number] for number in batch]
        answer_tokens = sum(sum(drill.learnt) for drill in drills)
        learnt = [weight for one in self._projections for weight in (one.down, one.up)]

        def compute(part: Sequence[int], place: int) -> tuple[float, torch.Tensor]:
            chance = random.Random(f"{self._recipe.seed} {step} {place}")  # noqa: S311
            _Projection.local.generator = torch.Generator(self._device).manual_seed(
                chance.getrandbits(63)
            )
            packed = self._pack(part, lambda: chance.random() < self._recipe.hidden_share)
            losses, _ = self._answer_losses(packed, part)
            total = losses.sum()
            gradients = torch.autograd.grad(total / answer_tokens, learnt)
            return total.item(), torch.cat([one.flatten() for one in gradients])

        total, gradient = 0.0, torch.zeros_like(self.weights)
        parts = self._parts(batch)
        for loss, more in self._cores.map(compute, parts, range(len(parts))):
            total += loss
            gradient += more
        if not math.isfinite(total):
            raise TuningError(
                "The loss is no longer a number.", cure="Lower the learning rate, then train again."
            )
        self.weights.grad = gradient
        return total / answer_tokens

    def judge(self, numbers: Sequence[int]) -> list[Judged]:
        """What the model makes of the answers of some examples, as it is now."""
        import torch

        def compute(part: Sequence[int]) -> list[Judged]:
            _Projection.local.generator = None
            packed = self._pack(part)
            with torch.no_grad():
                losses, likeliest = self._answer_losses(packed, part)
            count = len(part)
            return [
                Judged(loss, int(tokens), int(right))
                for loss, tokens, right in zip(
                    torch.zeros(count).index_add(0, packed.owners.cpu(), losses.cpu()).tolist(),
                    packed.owners.bincount(minlength=count).tolist(),
                    packed.owners[likeliest].bincount(minlength=count).tolist(),
                    strict=True,
                )
            ]

        return [one for part in self._cores.map(compute, self._parts(numbers)) for one in part]

    def save(self, folder: Path, base_name: str) -> None:
        """Write the PEFT weights in bfloat16, with their configuration.

        Raises:
            OSError: they cannot be written.
        """
        import torch
        from peft import get_peft_model_state_dict
        from safetensors.torch import save

        weights = {
            name: tensor.detach().to("cpu", torch.bfloat16)
            for name, tensor in get_peft_model_state_dict(self._model).items()
        }
        (folder / WEIGHTS_NAME).write_bytes(save(weights, metadata={"format": "pt"}))
        config = self._config.to_dict() | {"base_model_name_or_path": base_name}
        config["target_modules"] = sorted(config["target_modules"])
        config["inference_mode"] = True
        text = json.dumps(config, indent=2, sort_keys=True, default=str)
        (folder / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")

    def _frozen_states(
        self, system_ids: Sequence[int], first: int
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """What enters the first adapted layer: (P, width) for the prompt, and (n, width) for each
        example of n tokens."""
        import torch

        def compute(part: Sequence[int]) -> list[torch.Tensor]:
            drills = [self._drills[number] for number in part]
            ids = [*system_ids, *(token for drill in drills for token in drill.ids)]
            with torch.no_grad():
                states = self._body.embed_tokens(torch.tensor(ids, device=self._device))
                states = self._through(self._body.layers[:first], states, self._pack(part))
            lengths = [len(system_ids), *(len(drill.ids) for drill in drills)]
            return [state.clone() for state in states.split(lengths)]

        found = list(self._cores.map(compute, self._parts(range(len(self._drills)))))
        return found[0][0], [state for _, *own in found for state in own]

    def _through(self, layers: Any, states: torch.Tensor, packed: Pack) -> torch.Tensor:
        """Send (T, width) states through some layers."""
        import torch

        hidden = states[None]
        turned = self._body.rotary_emb(hidden, packed.positions)
        bias = torch.zeros(packed.visible.shape, device=self._device)
        bias.masked_fill_(~packed.visible, float("-inf"))
        for layer in layers:
            hidden = layer(hidden, attention_mask=bias, position_embeddings=turned, packed=packed)
        return hidden[0]

    def _answer_losses(
        self, packed: Pack, part: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(A,) loss of each answer token, and (A,) whether it is the likeliest."""
        import torch

        states = torch.cat([self._prompt_state, *(self._states[number] for number in part)])
        hidden = self._body.norm(self._through(self._adapted_layers, states, packed))
        return answer_loss(hidden[packed.predictors], self._head, packed.targets)

    def _pack(self, part: Sequence[int], hide: Callable[[], bool] | None = None) -> Pack:
        drills = [self._drills[number] for number in part]
        return pack(self._prompt_length, drills, self._device, hide)

    def _parts(self, numbers: Sequence[int]) -> list[list[int]]:
        lengths = [len(self._drills[number].ids) for number in numbers]
        return [[numbers[i] for i in part] for part in even_parts(lengths, _PACK_TOKENS)]


class _Projection:
    """Computes what PEFT's layer stands for, base and low-rank matrices, as one operation."""

    local = threading.local()

    def __init__(self, layer: Any, dropout: float) -> None:
        self._layer = layer
        self._dropout = dropout
        self._weight = layer.base_layer.weight
        self._scale = layer.scaling["default"]
        self.down_shape = tuple(layer.lora_A["default"].weight.shape)
        self.up_shape = tuple(layer.lora_B["default"].weight.shape)
        layer.forward = self

    def take(self, weights: torch.Tensor) -> torch.Tensor:
        """Use the first of these flat weights; returns the others."""
        sizes = [math.prod(self.down_shape), math.prod(self.up_shape)]
        down, up, left = weights.split([*sizes, len(weights) - sum(sizes)])
        down, up = down.view(self.down_shape), up.view(self.up_shape)
        self._layer.lora_A["default"].weight.data = down
        self._layer.lora_B["default"].weight.data = up
        self.down = down.to(self._weight.dtype).detach().requires_grad_()
        self.up = up.to(self._weight.dtype).detach().requires_grad_()
        return left

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """(1, T, in) → (1, T, out)."""
        kept = None
        generator = self.local.generator
        if self._dropout and generator is not None:
            import torch

            kept = torch.empty_like(states[0]).bernoulli_(1 - self._dropout, generator=generator)
            kept /= 1 - self._dropout
        made = project(states[0], self._weight, self.down, self.up, self._scale, kept)
        return made[None]
