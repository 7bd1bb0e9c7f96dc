"""What happens in a training, in the order it happens: steps, and evaluations between them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One step of a training.

    Args:
        step: counted from 1, in this fold.
        steps: how many there will be in this fold, unless it stops early.
        epoch: the pass over the examples that this step belongs to, counted from 1.
        loss: mean negative log-likelihood of the step's answer tokens, in nats.
        learning_rate: the one this step used.
        tokens_per_second: tokens of the step's examples, each with its system prompt, over the
            step's time.
        seconds_left: estimate for the whole training, all folds and what follows the last step.
        fold: 0 for the training whose adapter is kept; 1, 2, … for those of a cross-validation.
    """

    step: int
    steps: int
    epoch: int
    loss: float
    learning_rate: float
    tokens_per_second: float
    seconds_left: float
    fold: int = 0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good the adapter is after some steps.

    Args:
        step: the last step before it.
        training_loss: mean loss of the steps since the last evaluation, in nats.
        validation_loss: loss on the held-out phrasings, in nats; None when none are held out.
        correct: held-out phrasings answered word for word: each of the answer's tokens is the
            likeliest after those before it, so that the greedy answer is the example's.
        asked: how many phrasings are held out.
        fold: as in `TrainingStep`.
        best: whether it is the best so far; the adapter is what the best one saw.
    """

    step: int
    training_loss: float
    validation_loss: float | None
    correct: int
    asked: int
    fold: int = 0
    best: bool = False
