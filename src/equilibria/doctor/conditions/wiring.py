"""Mistakes in the training loop: non-finite values, parameters never updated, swapped labels or batches."""

from __future__ import annotations

from ..evidence import Evidence, about, above, below, context, equal
from ..findings import Severity
from .rule import Level, Rule, View, when

Found = tuple[Evidence, ...] | None
CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING


def _not_finite(view: View) -> Found:
    broken = view["numbers/parameters"] > 0 or view["numbers/outputs"] > 0
    return when(
        broken,
        view,
        equal("numbers/parameters", 0, "every parameter and buffer is finite"),
        equal("numbers/outputs", 0, "every sample and score is finite"),
    )


def _why_no_number(view: View) -> tuple[str, ...]:
    """Which remedy first: for bad rows, for a logarithm of 0 (a certain discriminator), or for the step size."""
    if view.fact("real/not-finite") > 0:
        return "clean-data", "stable-losses"
    before = [c["scores/certainty"] for c in view.chart.checkups[: view.at + 1] if c["scores/certainty"] > 0]
    if before and before[-1] > 8:
        return "stable-losses", "lower-learning-rates"
    return "lower-learning-rates", "clip-gradients", "stable-losses"


def _overflow(view: View) -> Found:
    largest = below("numbers/largest", 1e6, "the largest magnitude among parameters, samples and scores")
    return when(view["numbers/largest"] > 1e6, view, largest)


def _still(player: str) -> object:
    def test(view: View) -> Found:
        name = f"wiring/still-{player}"
        # A generator without gradient does not move either, but that is another condition.
        reached = player == "discriminator" or view["gradient/declared"] != 0
        return when(view[name] == 1.0 and reached, view, equal(name, 0, "its parameters have moved since the start"))

    return test


def _left_out(view: View) -> Found:
    for player in ("generator", "discriminator"):
        name = f"wiring/left-out-{player}"
        if view[name] > 0:
            return when(True, view, equal(name, 0, "every trainable parameter is in an optimiser"))
    for player in ("generator", "discriminator"):
        name = f"wiring/unmoved-{player}"
        unknown = view[f"wiring/left-out-{player}"] != view[f"wiring/left-out-{player}"]
        # Dead units keep their weights too, so without the optimisers only a large share is evidence.
        if unknown and 0.5 < view[name] < 1 and not view[f"units/dead-{player}"] > 0.2:
            return when(True, view, below(name, 0.5, "the rest of the network has moved"))
    return None


def _wrong_player(view: View) -> Found:
    for name in ("wiring/held-by-discriminator", "wiring/held-by-generator"):
        if view[name] > 0:
            return when(True, view, equal(name, 0, "an optimiser holds its own player's parameters only"))
    return None


def _accumulate(view: View) -> Found:
    shows = view["wiring/leftover-ratio"] > 5 and view["wiring/leftover-likeness"] > 0.98
    return when(
        shows,
        view,
        about("wiring/leftover-ratio", 1, "gradients are cleared before each step"),
        below("wiring/leftover-likeness", 0.98, "two batches have different gradients"),
    )


def _double_sigmoid(view: View) -> Found:
    if view.chart.facts.get("loss/expects-logits") == 1.0 and view.probabilities:
        meaning = "a discriminator that ends in a sigmoid needs a loss of probabilities"
        return (equal("loss/expects-logits", 0, meaning).measured(1.0),)
    return None


def _swapped(view: View) -> Found:
    """From the start on, its steps lower real scores below generated ones.

    A weak discriminator ranks them wrongly as well, but its steps have the right direction.
    """
    balance, follows = view.balance("wiring/gain", 0.1), view.mean_so_far("wiring/descent")
    against = (balance < -0.3 and not follows > 0.1) if balance == balance else follows < -0.25
    # A discriminator that learns nothing ranks them wrongly too, but its scores stay as small as at the start.
    certain = view.median("scores/certainty", 5) > 2 * view.chart.checkups[0]["scores/certainty"]
    shows = view.median("scores/auc", 5) < 0.1 and view["probe/auc"] > 0.8 and against and certain
    return when(
        shows,
        view,
        above("scores/auc", 0.5, "real rows score higher; here they score lower than generated ones"),
        context("probe/auc", "an independent classifier separates real from generated rows"),
        above("wiring/gain", 0, "summed over the run, the discriminator's steps raise its AUC; here they lower it"),
    )


def _same_batch(view: View) -> Found:
    """It could learn, but it does not follow the proper gradient, and its steps did not raise its AUC.

    Both observations are needed: a penalty changes the gradient's direction in a loop that learns, and a much faster
    generator cancels the gain in a loop whose gradient is right.
    """
    apart = view["probe/auc"] > 0.9 and view.median("samples/distance") > 0.4 and not view.covers_part
    balance = view.balance("wiring/gain", 0.1)
    off = abs(view.mean_so_far("wiring/descent")) < 0.4 and not balance > 0.4
    # A discriminator that often ranked the rows correctly was trained on both; it fails for another reason.
    right, ranked = view.history.share_above("scores/auc", 0.85)[view.at]
    often = right > 0.3 * ranked
    # After its units have died it cannot learn any more; the earlier check-ups still show how it was trained.
    alive = view["motion/discriminator"] > 0 and view["slopes/between"] > 1e-6
    could = not view.chart.last["learn/discriminator"] < 0.8 if alive else balance == balance
    return when(
        apart and view.median("scores/auc", 5) < 0.75 and off and could and not often and not view.update_exploded,
        view,
        about("scores/auc", 1, "real and generated rows differ as much as here"),
        context("probe/auc", "an independent classifier separates real from generated rows"),
        above("wiring/gain", 0, "summed over the run, the discriminator's steps raise its AUC; here they do not"),
        above("wiring/descent", 0, "the optimiser follows the gradient of real against generated; here it does not"),
    )


_READ_D = "Goodfellow et al. 2014, Algorithm 1: the discriminator ascends E_p log D + E_q log(1 - D)"
RULES: tuple[Rule, ...] = (
    Rule(
        Level.LOOP,
        "overflow",
        CRITICAL,
        _overflow,
        1,
        "Values are far larger than the data, and the next steps will overflow. The usual reason is a learning rate "
        "that is too high, even for one step.",
        "Mescheder et al. 2017, section 3: step sizes beyond the stability limit",
        ("lower-learning-rates", "clip-gradients"),
        1,
    ),
    Rule(
        Level.LOOP,
        "not-a-number",
        CRITICAL,
        _not_finite,
        1,
        "A parameter, a sample or a score is no longer finite. Each further step spreads non-finite values: the run "
        "cannot recover by itself. The usual reasons are the logarithm of a probability that has become exactly 0, "
        "overflow in low precision, and a division by zero in a loss.",
        "IEEE 754; Micikevicius et al. 2018 for low precision",
        _why_no_number,
        1,
    ),
    Rule(
        Level.LOOP,
        "generator-never-updated",
        CRITICAL,
        _still("generator"),  # type: ignore[arg-type]
        2,
        "The generator's parameters do not change: its optimiser is not stepped or does not hold its parameters, its "
        "gradient is cleared before the step, or it was frozen.",
        "Goodfellow et al. 2014, Algorithm 1: both players move",
        ("update-generator",),
        2,
    ),
    Rule(
        Level.LOOP,
        "discriminator-never-updated",
        CRITICAL,
        _still("discriminator"),  # type: ignore[arg-type]
        2,
        "The discriminator's parameters do not change, so the generator is trained against a fixed function.",
        "Goodfellow et al. 2014, Algorithm 1: both players move",
        ("update-discriminator",),
        2,
    ),
    Rule(
        Level.LOOP,
        "wrong-player-trained",
        CRITICAL,
        _wrong_player,
        1,
        "An optimiser holds parameters of the other player. A discriminator's step that also moves the generator "
        "trains it to make samples that are easy to recognise as fake, the opposite of its own loss.",
        "Goodfellow et al. 2014, equation 1: each player has its own parameters",
        ("own-parameters-only",),
        1,
    ),
    Rule(
        Level.LOOP,
        "parameters-not-optimised",
        CRITICAL,
        _left_out,
        1,
        "Some trainable parameters are in no optimiser, so they keep their random start. The usual reason is a "
        "network that was built, or replaced, after its optimiser.",
        "Goodfellow et al. 2014, Algorithm 1",
        ("optimise-all-parameters",),
        2,
    ),
    Rule(
        Level.LOOP,
        "gradients-accumulate",
        CRITICAL,
        _accumulate,
        3,
        "The gradient left in the generator after a step is many times larger than the gradient of its loss and "
        "hardly changes from step to step: it is the sum over all steps so far, because it is never cleared.",
        "torch.optim: zero_grad",
        ("zero-gradients",),
        5,
    ),
    Rule(
        Level.LOOP,
        "double-sigmoid",
        CRITICAL,
        _double_sigmoid,
        1,
        "The discriminator ends in a sigmoid and its loss applies another one: the loss takes numbers between 0 and 1 "
        "for log-odds, so no row can get a low probability, and the inner sigmoid saturates.",
        _READ_D,
        ("one-sigmoid",),
        1,
    ),
    Rule(
        Level.LOOP,
        "swapped-labels",
        CRITICAL,
        _swapped,
        3,
        "The discriminator consistently scores generated rows higher than real ones, although they are easy to "
        "separate: it is trained with swapped labels, and the generator, whose loss falls with the score, gets no "
        "useful gradient.",
        _READ_D,
        ("real-is-one",),
        10,
    ),
    Rule(
        Level.LOOP,
        "same-batch-twice",
        CRITICAL,
        _same_batch,
        3,
        "The discriminator cannot separate real from generated rows, although they are far apart and a copy of it "
        "learns to do so in a few steps: it is not trained on real against generated rows. The usual reason is the "
        "same batch for both.",
        _READ_D,
        ("both-sides", "real-is-one"),
        16,
    ),
)
