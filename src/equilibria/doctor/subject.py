"""What the doctor examines: a generator and a discriminator, how they are called, and their inputs.

Nothing here changes them: gradients are taken at copies of the parameters, and buffers and random number generators are
restored.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..base.errors import ConfigError, EquilibriaError, ShapeError
from ..base.randomness import mix
from .codes import CodeForm
from .groups import reason_of
from .randomness import preserved_randomness
from .rows import RowForm
from .scores import ScoreForm, assumed, generated, score_tensors, scores_of

Params = dict[str, Tensor]
Codes = tuple[Tensor, Tensor | None]
_EPSILON = 1e-7
_PASSED_ON = re.compile(
    r"(Mean|Stack|Expand|Slice|IndexSelect|RepeatInterleave|View|Squeeze|Unsqueeze|Reshape|UnsafeView|ToCopy|Clone|Select|Alias|Permute|Transpose|T(?=Backward))"
)
_MEASURED = 4096  # rows that the measures take of the data
_MOST_ROWS = 32  # that share one score
_STATEFUL = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


@dataclass
class Subject:
    """A pair of networks and their inputs.

    Attributes:
        generator: called ``generator(z)``, or ``generator(z, y)`` if there are labels.
        discriminator: called ``discriminator(x)``, or ``discriminator(x, y)``.
        real: ``(n, …)`` training rows.
        labels: of the training rows, ``(n,)``, one-hot, or any other condition ``(n, …)``; or None.
        holdout: rows that no network is trained on, or None.
        codes: ``n -> (n, latent)`` codes, or what ``code_form`` packs into such a tensor.
        sampler: ``n -> (n, …)`` if samples are not ``generator(codes)``.
        calls: other calling conventions, ``{"generator": fn(z, y), "discriminator": fn(x, y)}``.
        probabilities: whether the discriminator ends in a sigmoid (found by :meth:`inspect`).
        non_finite: share of the real rows that held a non-finite number; they are left out here.
        inverted: whether low scores mean real in the training loop; :meth:`score` turns them round.
        codes_are_rows: whether codes are real rows, as in image-to-image translation; then there is no latent space.
        rows: how the networks lay out rows.
        code_form: how codes are dealt that are not one tensor ``(n, …)``; None where they are.
        score_form: how the discriminator's scores lie.
        assumptions: how its output was read where another reading is possible.
    """

    generator: nn.Module
    discriminator: nn.Module
    real: Tensor
    labels: Tensor | None = None
    holdout: Tensor | None = None
    codes: Callable[[int], Tensor] | None = None
    latent: int = 0
    sampler: Callable[[int], Tensor] | None = None
    calls: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    probabilities: bool = False
    non_finite: float = 0.0
    codes_are_rows: bool = False
    rows: RowForm = field(default_factory=RowForm)
    code_form: CodeForm | None = None
    score_form: ScoreForm = field(default_factory=ScoreForm)
    assumptions: list[str] = field(default_factory=list)
    inverted: bool = False
    _known: dict[tuple[Any, ...], tuple[Tensor, Any]] | None = field(default=None, repr=False)

    @property
    def classes(self) -> Tensor | None:
        """The labels if they are classes, ``(n,)`` or one-hot; None for other conditions."""
        return None if self.labels is None else classes_of(self.labels)

    @cached_property
    def some_real(self) -> tuple[Tensor, Tensor | None]:
        """At most 4,096 training rows in a random order, for the measures, and their classes: data may lie sorted."""
        chosen = _some(len(self.real)).to(self.real.device)
        classes = self.classes
        return self.real[chosen], None if classes is None else classes[chosen.to(classes.device)]

    @cached_property
    def some_unseen(self) -> Tensor | None:
        """The same of the rows that no network is trained on."""
        return None if self.holdout is None else self.holdout[_some(len(self.holdout)).to(self.holdout.device)]

    @property
    def device(self) -> torch.device:
        """The device of the discriminator."""
        return next((p.device for p in self.discriminator.parameters()), self.real.device)

    @property
    def wide(self) -> bool:
        """Whether a row has more than 256 numbers, as an image: the measures then use fewer rows."""
        return self.real[0].numel() > 256

    @property
    def stateful(self) -> bool:
        """Whether train and eval mode differ: batch norm or dropout in either network."""
        return any(isinstance(m, _STATEFUL) for net in self.networks.values() for m in net.modules())

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Both networks by player."""
        return {"generator": self.generator, "discriminator": self.discriminator}

    def draw_codes(self, n: int) -> Codes:
        """``n`` codes (and labels, drawn from the data's), on the device."""
        if self.codes is None:
            raise ConfigError("the doctor was given no latent", "pass latent=128, or latent=fn with fn(n) -> codes")
        y = None
        if self.labels is not None:
            y = self.labels[torch.randint(len(self.labels), (n,))].to(self.device)
        dealt = self.codes(n)
        z = dealt if self.code_form is None else self.code_form.pack(dealt)
        return z.to(self.device), y

    def make(self, codes: Codes, params: Params | None = None) -> Tensor:
        """Generated rows; with ``params`` in place of the generator's parameters."""
        return self._rows_in(self.output(codes, params))

    def output(self, codes: Codes, params: Params | None = None) -> Any:
        """What the generator returns."""
        call = self.calls.get("generator")
        z, y = codes
        dealt = z if self.code_form is None else self.code_form.unpack(z)
        if isinstance(dealt, Tensor):
            dealt = _fitted(dealt, self.generator)
        if call is not None:
            return _swapped(self.generator, params, lambda: call(dealt, y))
        own = () if y is None else (y,)
        if isinstance(dealt, dict):
            return _called(self.generator, params, own, dealt)
        if not isinstance(dealt, tuple):
            dealt = () if y is not None and not z.shape[-1] else (dealt,)  # a condition in place of codes
        return _called(self.generator, params, (*dealt, *own))

    def sample(self, n: int) -> Tensor:
        """``n`` samples, by the sampler if there is one."""
        if self.sampler is not None:
            return self._rows_in(self.sampler(n)).to(self.device)
        return self.make(self.draw_codes(n))

    def sample_with_labels(self, n: int) -> Codes:
        """``n`` samples, and the labels that they were asked for (drawn, if a sampler chooses its own)."""
        if self.sampler is not None:
            return self.sample(n), None if self.labels is None else self.draw_codes(n)[1]
        codes = self.draw_codes(n)
        return self.make(codes), codes[1]

    def _rows_in(self, out: Any) -> Tensor:
        return self.rows.made(generated(out, self._shape))

    @property
    def _shape(self) -> tuple[int, ...]:
        """The shape of one generated row, as the generator returns it without time first."""
        return () if self.rows.flat else tuple(self.real.shape[1:])

    def raw(self, x: Tensor, y: Tensor | None = None, params: Params | None = None) -> Tensor:
        """The discriminator's outputs, one number for each row: patch maps are averaged."""
        n, pack = len(x), self.score_form.pack
        if n % pack:
            chosen = torch.arange(n + -n % pack, device=x.device) % n
            x, y = x[chosen], None if y is None else y[chosen]
        found = scores_of(self.scored(x, y, params), len(x), self.score_form).float()
        return found if len(found) == n else found[:n]

    def _raw_once(self, x: Tensor, y: Tensor | None) -> Tensor:
        """As :meth:`raw`; several vitals of a check-up ask for the same rows, which are passed once if that is alike.

        It is not alike for a discriminator with buffers or dropout, or one that is called by a function of the user.
        """
        own = self.discriminator
        changing = any(isinstance(m, _STATEFUL) for m in own.modules()) or next(own.buffers(), None) is not None
        if self._known is None or changing or "discriminator" in self.calls:
            return self.raw(x, y)
        key = tuple((t.data_ptr(), t.shape, t.stride(), t._version) for t in (x, y) if t is not None)
        if key not in self._known:
            self._known[key] = (self.raw(x, y), (x, y))  # the rows are held, so that no others take their place
        return self._known[key][0]

    def scored(self, x: Tensor, y: Tensor | None = None, params: Params | None = None) -> Any:
        """What the discriminator returns."""
        call = self.calls.get("discriminator")
        x = self.rows.given(_fitted(x, self.discriminator))
        if call is not None:
            return _swapped(self.discriminator, params, lambda: call(x, y))
        return _called(self.discriminator, params, (x,) if self.labels is None else (x, y))

    def score(self, x: Tensor, y: Tensor | None = None, params: Params | None = None) -> Tensor:
        """Logits ``(n,)``: higher is more real. Probabilities are converted to logits."""
        out = self._raw_once(x, y) if params is None and not torch.is_grad_enabled() else self.raw(x, y, params)
        if self.probabilities:
            p = out.clamp(_EPSILON, 1 - _EPSILON)
            out = p.log() - (1 - p).log()
        return -out if self.inverted else out

    def batch(self, n: int, holdout: bool = False) -> tuple[Tensor, Tensor | None]:
        """``n`` real rows at random, and their labels."""
        rows = self.holdout if holdout and self.holdout is not None else self.real
        chosen = torch.randint(len(rows), (min(n, len(rows)),)) if len(rows) > n else torch.arange(len(rows))
        x = rows[chosen.to(rows.device)].to(self.device)
        if not x.is_floating_point():
            x = x.float()
        y = (
            self.labels[chosen.to(self.labels.device)].to(self.device)
            if self.labels is not None and not holdout
            else None
        )
        return x, y

    def inspect(self) -> None:
        """Call both networks once, and find out whether the discriminator ends in a sigmoid.

        Raises:
            ShapeError: an output or input does not fit; the message says what is needed.
        """
        with self.undisturbed(0), torch.no_grad():
            x, y = self.batch(64)
            fake = self._tried_sample(len(x))
            if fake is not None and fake.shape[1:] != x.shape[1:]:
                raise self._misfit(fake, x)
            wide = self._tried_scores(x, y)
            both = torch.cat(wide if fake is None else [*wide, self.raw(fake, y)])
            last = [m for m in self.discriminator.modules() if not list(m.children())]
            ends = (bool(last) and isinstance(last[-1], nn.Sigmoid)) or self._sigmoid_is_last(x, y)
            inside = bool(((both >= 0) & (both <= 1)).all())
            # A sigmoid that is not visible in the graph saturates far away from the data, at both ends.
            saturated = all(float(end.float().mean()) > 0.02 for end in (both < 1e-3, both > 1 - 1e-3))
            self.probabilities = inside and (ends or saturated)
            self.assumptions = self._assumed(x, y)

    def _tried_sample(self, n: int) -> Tensor | None:
        try:
            return self.sample(n)
        except ConfigError:
            return None
        except ShapeError:
            raise
        except Exception as error:
            raise ShapeError(
                f"the generator cannot be called: {reason_of(error)}",
                "latent= its code size or fn(n) -> codes; labels= if it needs them; call={'generator': fn(z, y)}",
            ) from error

    def _misfit(self, fake: Tensor, x: Tensor) -> ShapeError:
        what = f"the generator makes {tuple(fake.shape[1:])} and real rows are {tuple(x.shape[1:])}"
        if fake.shape[2:] == x.shape[2:] and x.dim() > 2 and fake.shape[1] < x.shape[1]:
            return ShapeError(
                what,
                "for a discriminator of cat(condition, image) pass real=images, labels=conditions, "
                "call={'discriminator': lambda x, y: discriminator(torch.cat([y, x], 1))}",
            )
        return ShapeError(what, "pass real= in the shape of the discriminator's input")

    def _tried_scores(self, x: Tensor, y: Tensor | None) -> list[Tensor]:
        try:
            return self._wide_scores(x, y)
        except EquilibriaError as error:
            failed: Exception = error
        except Exception as error:
            failed = error
        pack = self._packing(x, y)
        if pack > 1:
            self.score_form = ScoreForm(pack, self.score_form.classes, self.score_form.time_first)
            return self._wide_scores(x, y)
        if isinstance(failed, EquilibriaError):
            raise failed
        raise ShapeError(f"the discriminator cannot be called: {reason_of(failed)}", self._how()) from failed

    def _wide_scores(self, x: Tensor, y: Tensor | None) -> list[Tensor]:
        return [self.raw(scale * x, y) for scale in (1.0, 1e3, -1e3)] if not self.rows.whole else [self.raw(x, y)]

    def _packing(self, x: Tensor, y: Tensor | None) -> int:
        """How many rows share a score: k rows have one score, 2 k have two, and 3 k have three (PacGAN)."""
        for pack in range(2, min(_MOST_ROWS, len(x) // 3) + 1):
            try:
                outs = [
                    score_tensors(self.scored(x[:n], None if y is None else y[:n])) for n in (pack, 2 * pack, 3 * pack)
                ]
            except Exception:
                continue
            if all(len(one) == k for k, out in enumerate(outs, 1) for one in out if one.dim()):
                return pack
        return 1

    def _how(self) -> str:
        """How a discriminator could be called that takes no rows alone."""
        plain = "call={'discriminator': fn(x, y) -> scores}"
        joined = "call={'discriminator': lambda x, y: discriminator(torch.cat([y, x], 1))}"
        if self.labels is not None:
            return f"{plain}; if it takes cat(condition, image): {joined}"
        if required_inputs(self.discriminator) > 1 and "discriminator" not in self.calls:
            return (
                "labels= if it needs them; for pairs (x, z) of BiGAN: rows of both, real=torch.cat([x, E(x)], 1), "
                "call={'generator': lambda z, y: torch.cat([G(z), z], 1), "
                "'discriminator': lambda r, y: D(r[:, :d], r[:, d:])}"
            )
        if self.real.dim() > 2 and self.real.is_floating_point():
            return (
                f"labels= if it needs them, or {plain}; if it takes cat(condition, image): labels=conditions, {joined}"
            )
        return f"labels= if it needs them, or {plain}"

    def _assumed(self, x: Tensor, y: Tensor | None) -> list[str]:
        n = len(x) - len(x) % self.score_form.pack
        return assumed(self.scored(x[:n], None if y is None else y[:n]), n, self.score_form)

    def _sigmoid_is_last(self, x: Tensor, y: Tensor | None) -> bool:
        """Whether the last operation of the discriminator, except reshapes and means, is a sigmoid."""
        with torch.enable_grad():
            try:
                node = self.raw(x.detach().requires_grad_(), y).grad_fn
            except RuntimeError:  # an operation in place on its input
                return False
        while node is not None and _PASSED_ON.match(node.name()):
            node = node.next_functions[0][0] if node.next_functions else None
        return node is not None and node.name().startswith("SigmoidBackward")

    def measure_latent(self) -> None:
        """Set the size of a code if only a function that makes codes was given."""
        if self.codes is not None and not self.latent:
            with self.undisturbed(0):
                codes = self.draw_codes(64)[0]  # some games need at least as many rows as they have components
            form = self.code_form
            counted = form is None or form.kind == "tensor"
            self.latent = form.size if form is not None and not counted else _numbers(codes)

    @contextmanager
    def undisturbed(self, seed: int) -> Iterator[None]:
        """Restore, on exit, buffers, train flags and the states of random number generators."""
        flags = {id(m): (m, m.training) for net in self.networks.values() for m in net.modules()}
        buffers = [
            (m._buffers, n, b, b.clone()) for m, _ in flags.values() for n, b in m._buffers.items() if b is not None
        ]
        own = (self.generator, self.discriminator, self.codes, self.sampler, *self.calls.values())
        known, self._known = self._known, dict(self._known or {})
        try:
            with (
                preserved_randomness(own, mix(seed, 11)),
                _eager(),
                torch.autocast(self.device.type, enabled=False),
                torch.inference_mode(False),
                torch.enable_grad(),
            ):
                yield
        finally:
            self._known = known
            with torch.no_grad():
                for held, name, buffer, kept in buffers:
                    buffer.data.copy_(kept)  # no new version: a graph of the loop may have saved it
                    held[name] = buffer  # a forward pass may have put another tensor in its place
            for module, training in flags.values():
                module.training = training

    def mode(self, training: bool) -> None:
        """Put both networks in train or eval mode; only inside :meth:`undisturbed`."""
        for net in self.networks.values():
            net.train(training)


def _some(count: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:_MEASURED]


def classes_of(y: Tensor) -> Tensor | None:
    """Labels if they are classes: whole numbers ``(n,)``, or one-hot; None for other conditions."""
    if y.dim() == 1:
        return y if not y.is_floating_point() or bool((y == y.round()).all()) else None
    one_hot = y.dim() == 2 and bool(((y == 0) | (y == 1)).all()) and bool((y.sum(1) == 1).all())
    return y if one_hot else None


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside a wrapper (data parallel, compiled): the same parameters, called without the wrapper."""
    while isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)) or hasattr(module, "_orig_mod"):
        module = module._orig_mod if hasattr(module, "_orig_mod") else module.module  # type: ignore[assignment]
    return module


def copies(module: nn.Module) -> Params:
    """The parameters of a module as detached leaves that take gradients; the module's own are not modified."""
    return {n: p.detach().clone().requires_grad_() for n, p in module.named_parameters() if p.is_floating_point()}


def _eager() -> AbstractContextManager[Any]:
    """Compiled functions run eagerly inside: the doctor's calls neither compile again nor leave hooks in a graph."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def _fitted(x: Tensor, module: nn.Module) -> Tensor:
    """``x`` in the precision of the module's parameters, if it is in another."""
    own = next((p.dtype for p in module.parameters() if p.is_floating_point()), x.dtype)
    return x.to(own) if x.is_floating_point() and x.dtype != own else x


def _called(
    module: nn.Module, params: Params | None, given: tuple[Any, ...], named: dict[str, Any] | None = None
) -> Any:
    return module(*given, **(named or {})) if params is None else functional_call(module, params, given, named)


def _numbers(codes: Tensor) -> int:
    return codes[0].numel() if codes.is_floating_point() else 0


def required_inputs(module: nn.Module) -> int:
    """How many inputs a network cannot be called without; 1 where its signature is not known."""
    try:
        inputs = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):  # a compiled network has no signature
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(one.kind in kinds and one.default is inspect.Parameter.empty for one in inputs)


def _swapped(module: nn.Module, params: Params | None, call: Callable[[], Any]) -> Any:
    """Call a function that uses the module, with other parameters in the module during the call."""
    if params is None:
        return call()

    class _Inside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self) -> Any:
            return call()

    return functional_call(_Inside(), {f"inner.{n}": p for n, p in params.items()}, ())
