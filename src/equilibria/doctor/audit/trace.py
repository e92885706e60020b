"""What is recorded of a training step: calls of the two networks, gradients that came back, steps of optimisers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

PLAYERS = ("generator", "discriminator")


@dataclass
class Output:
    """One tensor that a network returned.

    Attributes:
        value: a copy, detached.
        node: its place in the graph, or None.
        last: the name of the last operation that changes values, without ``Backward0``.
        attached: whether gradient can flow back from it.
        key: its name, where the network returned a mapping.
    """

    value: Tensor
    node: Any
    last: str
    attached: bool
    key: str = ""


@dataclass
class Call:
    """One call of a network.

    Attributes:
        seq: place in the order of events.
        who: the player.
        module: the module that was called.
        inputs: its tensors, detached, at most the first rows.
        hashes: of the rows of each input that has rows.
        main: index of the input that holds the rows: the largest tensor of floats, else the first.
        node: of the main input in the graph, or None.
        leaf: whether the main input asked for gradient itself.
        attached: whether the main input requires gradient.
        grads: whether gradients were on.
        training: whether the network was in training mode.
        norms: the batch norms inside and whether each was in training mode.
        cut: whether parameters of the discriminator were cut to a bound: several entries at exactly the largest
            magnitude (chance gives one or two of many).
        kept: whether that magnitude is the same before and after a step, as a bound is, and a weight without gradient.
        trained: whether a parameter that the call used requires gradient.
        outputs: every tensor of floats that was returned.
        descends: the calls of the generator whose outputs the main input is made from, by the graph.
    """

    seq: int
    who: str
    module: nn.Module
    inputs: list[Tensor]
    hashes: list[Tensor | None]
    main: int
    node: Any
    leaf: bool
    attached: bool
    grads: bool
    training: bool
    norms: list[tuple[nn.Module, bool]]
    cut: bool = False
    kept: bool = False
    trained: bool = True
    outputs: list[Output] = field(default_factory=list)
    descends: set[int] = field(default_factory=set)

    @property
    def rows(self) -> Tensor:
        """The main input."""
        return self.inputs[self.main]

    def together(self, kept: list[int] | None = None) -> list[int]:
        """A hash for each row of the inputs that have as many rows as the main one; ``kept`` names some of them."""
        n = len(self.rows)
        whole = torch.zeros(n, dtype=torch.int64)
        for i, held in enumerate(self.hashes):
            if held is not None and len(held) == n and (kept is None or i in kept):
                whole = whole * 31 + held.cpu() * (2 * i + 1)
        return [int(key) for key in whole.tolist()]


@dataclass
class Came:
    """A gradient that came back to an output (or, with ``output`` -1, to the main input) of a call.

    Attributes:
        seq: place in the order of events.
        task: the backward pass.
        call: the call.
        output: index of the output.
        value: the gradient, a copy; for all rows that the output has.
        graph: whether a graph of the gradient was made.
        second: for a slope: the gradient with respect to it that came back later.
        later: the backward pass in which that came.
    """

    seq: int
    task: int
    call: Call
    output: int
    value: Tensor
    graph: bool
    second: Tensor | None = None
    later: int = -1


@dataclass
class Added:
    """A gradient that came to a parameter.

    Attributes:
        task: the backward pass.
        norm: of what came.
        before: whether ``.grad`` held something other than 0 before.
    """

    task: int
    norm: Tensor
    before: Tensor | bool


@dataclass
class Held:
    """A parameter in a step of an optimiser.

    Attributes:
        who: its player.
        name: its name in the player.
        norm: of ``.grad``; None without one.
        chain: what happened to ``.grad`` since it was cleared: ``("pass", task)``, ``("step", number)``.
        known: whether the chain begins at a clearing that was seen.
        replaced: whether ``.grad`` is another tensor than the one that gradients were added to.
        size: its number of entries.
    """

    who: str
    name: str
    norm: Tensor | None
    chain: tuple[tuple[str, int], ...]
    known: bool
    replaced: bool
    size: int = 1


@dataclass
class OptimizerStep:
    """A step of an optimiser.

    Attributes:
        seq: place in the order of events.
        optimizer: the id of the optimiser.
        held: the parameters of the two players that it holds.
        strangers: how many others it holds.
        rates: the learning rates of its groups.
        closure: whether it was given a closure.
        maximizes: whether it goes up the gradient.
        moved: by player, the squared norms of the change and of the parameters before.
    """

    seq: int
    optimizer: int
    held: list[Held]
    strangers: int
    rates: tuple[float, ...]
    closure: bool
    maximizes: bool = False
    moved: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


@dataclass
class Trace:
    """All records of a window.

    Attributes:
        calls: of both networks.
        scores: gradients at outputs of the discriminator.
        samples: gradients at outputs of the generator.
        slopes: gradients at the discriminator's main input.
        through: gradients at a generated batch that came through one call of the discriminator.
        added: by player and parameter, the gradients that came to it.
        steps: of optimisers.
        formulas: by backward pass, the operations between its root and each call's outputs.
        constants: the backward passes of losses to which a term without a gradient is added.
        bare: how many backward passes began at a number that is the result of nothing.
        hooked: parameters with hooks of the loop on their gradient.
        aims: by backward pass for which gradients of certain parameters were asked, the players of which they are.
        failures: errors inside hooks.
    """

    calls: list[Call] = field(default_factory=list)
    scores: list[Came] = field(default_factory=list)
    samples: list[Came] = field(default_factory=list)
    slopes: list[Came] = field(default_factory=list)
    through: list[Came] = field(default_factory=list)
    added: dict[tuple[str, str], list[Added]] = field(default_factory=dict)
    steps: list[OptimizerStep] = field(default_factory=list)
    formulas: dict[int, dict[int, frozenset[str]]] = field(default_factory=dict)
    constants: set[int] = field(default_factory=set)
    bare: int = 0
    hooked: set[tuple[str, str]] = field(default_factory=set)
    aims: dict[int, frozenset[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def of(self, who: str) -> list[Call]:
        """The calls of a player."""
        return [call for call in self.calls if call.who == who]
