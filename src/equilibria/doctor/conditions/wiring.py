"""Mistakes in the loop: numbers that are none, parameters nobody moves, labels and batches the wrong way round."""

from __future__ import annotations

from ..findings import Condition, Evidence, Severity
from .rule import Rule, View, when

Signs = tuple[Evidence, ...] | None
CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING


def _not_finite(view: View) -> Signs:
    broken = view["numbers/parameters"] > 0 or view["numbers/outputs"] > 0
    return when(broken, view, ("numbers/parameters", "0 in a healthy run"), ("numbers/outputs", "0 in a healthy run"))


def _why_no_number(view: View) -> tuple[str, ...]:
    """Which remedy first: bad rows, a logarithm of 0 where the discriminator was sure, or else the step size."""
    if view.fact("real/not-finite") > 0:
        return "clean-data", "stable-losses"
    before = [c["scores/certainty"] for c in view.chart.checkups[: view.at + 1] if c["scores/certainty"] > 0]
    if before and before[-1] > 8:
        return "stable-losses", "lower-learning-rates"
    return "lower-learning-rates", "clip-gradients", "stable-losses"


def _overflow(view: View) -> Signs:
    return when(view["numbers/largest"] > 1e6, view, ("numbers/largest", "below 1e6"))


def _still(player: str) -> object:
    def sign(view: View) -> Signs:
        name = f"wiring/still-{player}"
        # A generator that no gradient reaches stands still too, but that is another condition.
        reached = player == "discriminator" or view["gradient/declared"] != 0
        return when(view[name] == 1.0 and reached, view, (name, "0 once training has begun"))

    return sign


def _left_out(view: View) -> Signs:
    for player in ("generator", "discriminator"):
        name = f"wiring/left-out-{player}"
        if view[name] > 0:
            return when(True, view, (name, "0: every trainable parameter is in an optimiser"))
    for player in ("generator", "discriminator"):
        name = f"wiring/unmoved-{player}"
        unknown = view[f"wiring/left-out-{player}"] != view[f"wiring/left-out-{player}"]
        # Units that never fire keep their weights too, so without the optimisers only a large share is a sign.
        if unknown and 0.5 < view[name] < 1 and not view[f"units/dead-{player}"] > 0.2:
            return when(True, view, (name, "below 0.5 where the rest of the network moves"))
    return None


def _wrong_player(view: View) -> Signs:
    for name in ("wiring/held-by-discriminator", "wiring/held-by-generator"):
        if view[name] > 0:
            return when(True, view, (name, "0: an optimiser holds its own player's parameters only"))
    return None


def _accumulate(view: View) -> Signs:
    shows = view["wiring/leftover-ratio"] > 5 and view["wiring/leftover-likeness"] > 0.98
    return when(
        shows,
        view,
        ("wiring/leftover-ratio", "about 1: gradients are cleared before each step"),
        ("wiring/leftover-likeness", "below 0.98: two batches differ"),
    )


def _double_sigmoid(view: View) -> Signs:
    if view.chart.facts.get("loss/expects-logits") == 1.0 and view.probabilities:
        value = Evidence("loss/expects-logits", 1.0, "0 where the discriminator ends in a sigmoid")
        return (value,)
    return None


def _swapped(view: View) -> Signs:
    """It has moved, from the start on, so as to rank real rows below generated ones.

    A discriminator that is only weak is fooled as well, but what it moves it moves the right way.
    """
    balance, follows = view.balance("wiring/gain", 0.1), view.mean("wiring/descent", view.at + 1)
    against = (balance < -0.3 and not follows > 0.1) if balance == balance else follows < -0.25
    # One that learns nothing is fooled too, but its scores stay as small as they were at the start.
    sure = view.median("scores/certainty", 5) > 2 * view.chart.checkups[0]["scores/certainty"]
    shows = view.median("scores/auc", 5) < 0.1 and view["probe/auc"] > 0.8 and against and sure
    return when(
        shows,
        view,
        ("scores/auc", "above 0.5: real rows score higher; here they score lower than generated ones"),
        ("probe/auc", "an independent classifier tells the sides apart"),
        ("wiring/gain", "positive in sum: what the discriminator moves raises its AUC; here it lowers it"),
    )


def _same_batch(view: View) -> Signs:
    """It could learn, but what it follows is not the proper gradient, and what it moved did not raise its AUC.

    Both signs are needed: a penalty turns the gradient away in a loop that learns, and a generator that is far faster
    takes away what was gained in a loop whose gradient is right.
    """
    apart = view["probe/auc"] > 0.9 and view.median("samples/distance") > 0.4 and not view.partly
    balance = view.balance("wiring/gain", 0.1)
    astray = abs(view.mean("wiring/descent", view.at + 1)) < 0.4 and not balance > 0.4
    # One that often told the sides apart was trained on both; it is fooled for another reason.
    told = [v for v in view.past("scores/auc", view.at + 1) if v == v]
    often = sum(v > 0.85 for v in told) > 0.3 * len(told)
    # One that has died since could not learn any more; that it was fed nothing useful while it lived stays true.
    alive = view["motion/discriminator"] > 0 and view["slopes/between"] > 1e-6
    could = not view.chart.last["learn/discriminator"] < 0.8 if alive else balance == balance
    return when(
        apart and view.median("scores/auc", 5) < 0.75 and astray and could and not often and not view.blown,
        view,
        ("scores/auc", "near 1 where the sides differ as much as here"),
        ("probe/auc", "an independent classifier tells the sides apart"),
        ("wiring/gain", "positive in sum: what the discriminator moves raises its AUC; here it does not"),
        ("wiring/descent", "positive: the optimiser follows the gradient of real against generated; here it does not"),
    )


_READ_D = "Goodfellow et al. 2014, Algorithm 1: the discriminator ascends E_p log D + E_q log(1 - D)"
WIRING: tuple[Rule, ...] = (
    Rule(
        Condition.OVERFLOW,
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
        Condition.NOT_A_NUMBER,
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
        Condition.GENERATOR_NEVER_UPDATED,
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
        Condition.DISCRIMINATOR_NEVER_UPDATED,
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
        Condition.WRONG_PLAYER_TRAINED,
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
        Condition.PARAMETERS_NOT_OPTIMISED,
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
        Condition.GRADIENTS_ACCUMULATE,
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
        Condition.DOUBLE_SIGMOID,
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
        Condition.SWAPPED_LABELS,
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
        Condition.SAME_BATCH_TWICE,
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
