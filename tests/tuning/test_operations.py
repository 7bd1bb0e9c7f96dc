"""Our operations give what PyTorch's own give, gradients included."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy, linear, scaled_dot_product_attention

from bot.tuning.drills import Drill, pack
from bot.tuning.operations import answer_loss, attend_in_rows, project


def some(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=CHANCE).requires_grad_()


CHANCE = torch.Generator().manual_seed(3)


@pytest.mark.parametrize("dropped", [False, True])
def test_a_projection_is_its_base_and_its_low_rank_matrices(dropped: bool) -> None:
    states, weight, down, up = some(5, 8), some(6, 8).detach(), some(2, 8), some(6, 2)
    kept = torch.full((5, 8), 2.0).bernoulli_(0.5, generator=CHANCE) * 2 if dropped else None
    ours = project(states, weight, down, up, 0.7, kept)
    narrow = states if kept is None else states * kept
    plain = linear(states, weight) + 0.7 * linear(linear(narrow, down), up)
    torch.testing.assert_close(ours, plain)
    given = some(5, 6).detach()
    for one, other in zip(
        torch.autograd.grad(ours, (states, down, up), given),
        torch.autograd.grad(plain, (states, down, up), given),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_the_loss_of_answers_is_cross_entropy_and_tells_the_likeliest() -> None:
    hidden, head = some(150, 8), some(40, 8).detach()
    targets = torch.randint(0, 40, (150,), generator=CHANCE)
    losses, likeliest = answer_loss(hidden, head, targets)
    logits = linear(hidden, head)
    plain = cross_entropy(logits, targets, reduction="none")
    torch.testing.assert_close(losses.double(), plain, rtol=1e-5, atol=1e-5)
    assert likeliest.tolist() == (logits.argmax(1) == targets).tolist()
    given = torch.rand(150, generator=CHANCE)
    (ours,) = torch.autograd.grad(losses, hidden, given)
    (theirs,) = torch.autograd.grad(plain, hidden, given.double())
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_attention_in_rows_is_attention_with_a_mask() -> None:
    drills = [Drill((1,) * n, (False,) * n, (True,) * n) for n in (3, 5, 1)]
    hide = iter([False, True, *[False] * 7]).__next__
    packed = pack(4, drills, hide=hide)
    count = packed.positions.shape[1]
    mask = torch.zeros(count, count, dtype=torch.bool)
    for token, place in enumerate(packed.places.tolist()):
        row, column = divmod(place, packed.rows.shape[1])
        mask[token, packed.seen[row][packed.visible[row, 0, column]]] = True
    query, key, value = some(1, 6, count, 4), some(1, 2, count, 4), some(1, 2, count, 4)
    bias = torch.zeros(packed.visible.shape).masked_fill(~packed.visible, float("-inf"))
    ours, _ = attend_in_rows(None, query, key, value, bias, scaling=0.5, packed=packed)
    plain = scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=0.5, enable_gqa=True
    ).transpose(1, 2)
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)
    given = torch.rand(plain.shape, generator=CHANCE, dtype=torch.float64)
    for one, other in zip(
        torch.autograd.grad(ours, (query, key, value), given),
        torch.autograd.grad(plain, (query, key, value), given),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
