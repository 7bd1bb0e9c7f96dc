"""Three operations of a training, with their gradients: faster here than PyTorch's general ones."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from bot.tuning.drills import Pack

_HEAD_POSITIONS = 64  # logits of so many positions at a time stay in the processor's caches


def project(
    states: torch.Tensor,
    weight: torch.Tensor,
    down: torch.Tensor,
    up: torch.Tensor,
    scale: float,
    kept: torch.Tensor | None = None,
) -> torch.Tensor:
    """A frozen projection with low-rank matrices beside it: (T, in) → (T, out).

    Args:
        weight: (out, in), frozen.
        down: (rank, in).
        up: (out, rank).
        scale: of what the two add.
        kept: (T, in), what their inputs are multiplied with, for dropout.
    """
    made: torch.Tensor = _functions()[0](states, weight, down, up, scale, kept)
    return made


def answer_loss(
    hidden: torch.Tensor, head: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(A,) negative log-likelihood of each target, and (A,) whether it is the likeliest token.

    The logits, 49,152 to a position, never exist for more than a few positions at once.

    Args:
        hidden: (A, width), what predicts the targets.
        head: (vocabulary, width), frozen.
        targets: (A,) int64.
    """
    losses, likeliest = _functions()[1](hidden, head, targets)
    return losses, likeliest


def attend_in_rows(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    scaling: float,
    packed: Pack,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of a pack, as transformers calls it: (1, heads, T, size) → (1, T, heads, size).

    At these lengths plain products are several times faster than fused attention.

    Args:
        attention_mask: (R, 1, L, P + L), what is added to the scores: 0 or minus infinity.
    """
    queries, keys, values = (
        _rows(query, packed.rows),
        _rows(key, packed.seen),
        _rows(value, packed.seen),
    )
    rows, heads, width, size = queries.shape
    shared = (rows, keys.shape[1], -1, size)  # some query heads share a key head
    scores = (queries.reshape(shared) @ keys.transpose(2, 3)).float() * scaling
    scores = scores.view(rows, heads, width, -1) + attention_mask
    shares = scores.softmax(-1).to(values.dtype).view(rows, keys.shape[1], -1, keys.shape[2])
    made = (shares @ values).view(rows, heads, width, size)
    flat = made.transpose(1, 2).reshape(rows * width, heads, size)
    return flat.index_select(0, packed.places)[None], None


def _rows(tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(1, heads, T, size) → (rows, heads, width, size), by the places of the rows' tokens."""
    _, heads, _, size = tokens.shape
    picked = tokens[0].index_select(1, places.flatten())
    return picked.view(heads, *places.shape, size).transpose(0, 1)


@cache
def _functions() -> tuple[Any, Any]:
    import torch
    from torch.autograd import Function

    class Project(Function):  # type: ignore[misc]
        @staticmethod
        def forward(
            ctx: Any,
            states: torch.Tensor,
            weight: torch.Tensor,
            down: torch.Tensor,
            up: torch.Tensor,
            scale: float,
            kept: torch.Tensor | None,
        ) -> torch.Tensor:
            narrow = (states if kept is None else states * kept) @ down.T
            ctx.save_for_backward(states, weight, down, up, narrow, kept)
            ctx.scale = scale
            return (states @ weight.T).addmm_(narrow, up.T, alpha=scale)

        @staticmethod
        def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
            (made,) = gradients
            states, weight, down, up, narrow, kept = ctx.saved_tensors
            of_narrow = (made @ up).mul_(ctx.scale)
            of_up = (made.T @ narrow).mul_(ctx.scale)
            if kept is None:
                of_states = None
                if ctx.needs_input_grad[0]:
                    of_states = (made @ weight).addmm_(of_narrow, down)
                return of_states, None, of_narrow.T @ states, of_up, None, None
            of_states = (made @ weight).addcmul_(of_narrow @ down, kept)
            return of_states, None, of_narrow.T @ (states * kept), of_up, None, None

    class AnswerLoss(Function):  # type: ignore[misc]
        @staticmethod
        def forward(
            ctx: Any, hidden: torch.Tensor, head: torch.Tensor, targets: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            learns = ctx.needs_input_grad[0]
            losses, likeliest, gradients = [], [], []
            for some, wanted in zip(
                hidden.split(_HEAD_POSITIONS), targets.split(_HEAD_POSITIONS), strict=True
            ):
                logits = (some @ head.T).float()
                total = logits.logsumexp(1)
                likeliest.append(logits.argmax(1) == wanted)
                losses.append(total - logits.gather(1, wanted[:, None])[:, 0])
                if learns:
                    shares = logits.sub_(total[:, None]).exp_()
                    shares[torch.arange(len(wanted), device=wanted.device), wanted] -= 1
                    gradients.append(shares.to(head.dtype) @ head)
            if learns:
                ctx.save_for_backward(torch.cat(gradients))
            right = torch.cat(likeliest)
            ctx.mark_non_differentiable(right)
            return torch.cat(losses), right

        @staticmethod
        def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
            (of_hidden,) = ctx.saved_tensors
            return of_hidden * gradients[0][:, None].to(of_hidden.dtype), None, None

    return Project.apply, AnswerLoss.apply
