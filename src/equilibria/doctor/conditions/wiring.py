"""Mistakes in the loop: non-finite values, parameters that nobody moves, labels or batches exchanged."""

from __future__ import annotations

from ..evidence import Evidence, about, above, below, context, equal
from ..findings import Severity
from .rule import Level, Rule, View, when

Signs = tuple[Evidence, ...] | None
CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING


def _not_finite(view: View) -> Signs:
    broken = view["numbers/parameters"] > 0 or view["numbers/outputs"] > 0
    return when(
        broken,
        view,
        equal("numbers/parameters", 0, "every parameter and buffer is finite"),
        equal("numbers/outputs", 0, "every sample and score is finite"),
    )


def _why_no_number(view: View) -> tuple[str, ...]:
    """Which remedy first: bad rows, a logarithm of 0 where the discriminator was sure, or else the step size."""
    if view.fact("real/not-finite") > 0:
        return "clean-data", "stable-losses"
    before = [c["scores/certainty"] for c in view.chart.checkups[: view.at + 1] if c["scores/certainty"] > 0]
    if before and before[-1] > 8:
        return "stable-losses", "lower-learning-rates"
    return "lower-learning-rates", "clip-gradients", "stable-losses"


def _overflow(view: View) -> Signs:
    largest = below("numbers/largest", 1e6, "the largest magnitude among parameters, samples and scores")
    return when(view["numbers/largest"] > 1e6, view, largest)


def _still(player: str) -> object:
    def sign(view: View) -> Signs:
        name = f"wiring/still-{player}"
        # A generator that no gradient reaches does not move either, but that is another condition.
        reached = player == "discriminator" or view["gradient/declared"] != 0
        return when(view[name] == 1.0 and reached, view, equal(name, 0, "its parameters have moved since the start"))

    return sign


def _left_out(view: View) -> Signs:
    for player in ("generator", "discriminator"):
        name = f"wiring/left-out-{player}"
        if view[name] > 0:
            return when(True, view, equal(name, 0, "every trainable parameter is in an optimiser"))
    for player in ("generator", "discriminator"):
        name = f"wiring/unmoved-{player}"
        unknown = view[f"wiring/left-out-{player}"] != view[f"wiring/left-out-{player}"]
        # Units that never fire keep their weights too, so without the optimisers only a large share is a sign.
        if unknown and 0.5 < view[name] < 1 and not view[f"units/dead-{player}"] > 0.2:
            return when(True, view, below(name, 0.5, "the rest of the network has moved"))
    return None


def _wrong_player(view: View) -> Signs:
    for name in ("wiring/held-by-discriminator", "wiring/held-by-generator"):
        if view[name] > 0:
            return when(True, view, equal(name, 0, "an optimiser holds its own player's parameters only"))
    return None


def _accumulate(view: View) -> Signs:
    shows = view["wiring/leftover-ratio"] > 5 and view["wiring/leftover-likeness"] > 0.98
    return when(
        shows,
        view,
        about("wiring/leftover-ratio", 1, "gradients are cleared before each step"),
        below("wiring/leftover-likeness", 0.98, "two batches have different gradients"),
    )


def _double_sigmoid(view: View) -> Signs:
    if view.chart.facts.get("loss/expects-logits") == 1.0 and view.probabilities:
        meaning = "a discriminator that ends in a sigmoid needs a loss of probabilities"
        return (equal("loss/expects-logits", 0, meaning).measured(1.0),)
    return None


def _swapped(view: View) -> Signs:
    """From the start on, its steps rank real rows below generated ones.

    A discriminator that is only weak ranks them wrong as well, but its steps go in the right direction.
    """
    balance, follows = view.balance("wiring/gain", 0.1), view.mean("wiring/descent", view.at + 1)
    against = (balance < -0.3 and not follows > 0.1) if balance == balance else follows < -0.25
    # One that learns nothing ranks them wrong too, but its scores stay as small as at the start.
    sure = view.median("scores/certainty", 5) > 2 * view.chart.checkups[0]["scores/certainty"]
    shows = view.median("scores/auc", 5) < 0.1 and view["probe/auc"] > 0.8 and against and sure
    return when(
        shows,
        view,
        above("scores/auc", 0.5, "real rows score higher; here they score lower than generated ones"),
        context("probe/auc", "an independent classifier tells the sides apart"),
        above("wiring/gain", 0, "summed over the run, the discriminator's steps raise its AUC; here they lower it"),
    )


def _same_batch(view: View) -> Signs:
    """It could learn, but it does not follow the proper gradient, and its steps did not raise its AUC.

    Both signs are needed: a penalty changes the gradient's direction in a loop that learns, and a much faster
    generator undoes the gain in a loop whose gradient is right.
    """
    apart = view["probe/auc"] > 0.9 and view.median("samples/distance") > 0.4 and not view.covers_part
    balance = view.balance("wiring/gain", 0.1)
    off = abs(view.mean("wiring/descent", view.at + 1)) < 0.4 and not balance > 0.4
    # One that often ranked the sides right was trained on both; it fails for another reason.
    ranked = [v for v in view.past("scores/auc", view.at + 1) if v == v]
    often = sum(v > 0.85 for v in ranked) > 0.3 * len(ranked)
    # One whose units have died since cannot learn any more; what it was trained on before that is still known.
    alive = view["motion/discriminator"] > 0 and view["slopes/between"] > 1e-6
    could = not view.chart.last["learn/discriminator"] < 0.8 if alive else balance == balance
    return when(
        apart and view.median("scores/auc", 5) < 0.75 and off and could and not often and not view.update_exploded,
        view,
        about("scores/auc", 1, "the sides differ as much as here"),
        context("probe/auc", "an independent classifier tells the sides apart"),
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
        "Numbers have grown beyond any scale the data has. The next steps will overflow. A learning rate that is too "
        "high, for one step even, is the usual reason.",
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
        "A parameter, a sample or a score is no longer a finite number. From there on every step makes more of them: "
        "the run cannot recover by itself. A logarithm of a probability that has become exactly 0, overflow in low "
        "precision, and a division by zero in a loss are the usual reasons.",
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
        "Not one parameter of the generator has changed since the start: its optimiser is never stepped, does not hold "
        "its parameters, or the generated batch is detached in the generator's own loss.",
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
        "Not one parameter of the discriminator has changed since the start, so the generator is trained against a "
        "random function.",
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
        "An optimiser holds parameters of the other player. A discriminator's step that also moves the "
        "generator trains "
        "it to be told apart, which is the opposite of its own loss.",
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
        "Some trainable parameters are in no optimiser, so they keep their random start. A network that was built, or "
        "replaced, after its optimiser is the usual reason.",
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
        "The gradient left in the generator after a step is many times larger than the gradient of its loss and hardly "
        "changes from step to step: it is the sum over all steps so far, because it is never cleared. The optimiser "
        "follows the past.",
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
        "The discriminator ends in a sigmoid and its loss applies another one: the loss sees numbers between 0 "
        "and 1 as "
        "log-odds, so it can never call a row surely fake, and the inner sigmoid saturates.",
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
        "The discriminator scores generated rows higher than real ones, consistently, though the sides are easy "
        "to tell "
        "apart: it is trained with the labels the wrong way round, and the generator, which wants high scores, is "
        "already content.",
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
        "The discriminator cannot tell the sides apart though they are far apart and a copy of it learns to in a few "
        "steps: what it is trained on is not real against generated. The same batch on both sides is the usual reason.",
        _READ_D,
        ("both-sides", "real-is-one"),
        16,
    ),
)
