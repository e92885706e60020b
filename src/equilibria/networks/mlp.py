"""Fully connected pairs, for vectors and for images as vectors."""

from __future__ import annotations

from torch import nn

from ..base.records import record
from .heads import Encoder, Generator, Head, Trunk
from .init import check_init, initialise
from .layers import Maxout, activation, volume
from .minibatch import MINIBATCH, minibatch_layer
from .norms import norm_layer
from .pairs import CONDITIONS, OUTPUTS, Networks, check_choice, check_counts, check_share, check_sizes, output_layers
from .spectral import spectral

NORMS = ("none", "batch", "layer")


@record
class MLPPair(Networks):
    """Two multi-layer perceptrons; images are flattened at the input and reshaped at the output.

    The networks of the eight-Gaussian ring of Metz et al. 2017 (appendix A) are
    ``MLPPair(depth=2, discriminator_depth=1, activation="relu", init="orthogonal", input_scale=0.25)``.

    Args:
        width: units of each hidden layer of the generator.
        depth: hidden layers of the generator.
        discriminator_width: the same for the discriminator, trunk and encoder; ``None``: as the generator.
        discriminator_depth: the same for the discriminator, trunk and encoder; ``None``: as the generator.
        activation: ``relu``, ``leaky_relu``, ``elu``, ``silu``, ``softplus`` or ``tanh``, in both.
        slope: negative slope of ``leaky_relu``.
        init: see :func:`~equilibria.networks.initialise`.
        output: the generator's last operation, ``linear`` or ``tanh``; ``auto`` is tanh for images, linear for vectors.
        input_scale: factor by which the discriminator multiplies its input.
        spectral_norm: whether every layer of the discriminator is spectrally normalised.
        norm: ``none``, ``batch`` or ``layer`` after each hidden affine map of the generator.
        discriminator_norm: the same in the discriminator.
        condition: how the discriminator uses a label, ``concat`` (with the input), ``projection``, or ``classifier``
            (it tells the label, and is not given it).
        minibatch: what the discriminator learns of the rest of its batch before its last layer: ``none``,
            ``discrimination`` or ``deviation`` (:class:`~equilibria.networks.MinibatchDiscrimination`,
            :class:`~equilibria.networks.MinibatchDeviation`).
        kernels: of minibatch discrimination; its time grows with their number and the square of the batch.

    Raises:
        ConfigError: a field has a value that is not allowed.

    Examples:
        >>> import torch
        >>> pair = MLPPair(width=16)
        >>> G, D = pair.generator(8, (2,)), pair.discriminator((2,))
        >>> D(G(torch.randn(5, 8))).shape
        torch.Size([5])
    """

    width: int = 128
    depth: int = 3
    discriminator_width: int | None = None
    discriminator_depth: int | None = None
    activation: str = "leaky_relu"
    slope: float = 0.2
    init: str = "default"
    output: str = "auto"
    input_scale: float = 1.0
    spectral_norm: bool = False
    norm: str = "none"
    discriminator_norm: str = "none"
    condition: str = "concat"
    minibatch: str = "none"
    kernels: int = 100

    def __post_init__(self) -> None:
        """Check every field."""
        check_counts(self, 1, "width", "depth", "discriminator_width", "discriminator_depth", "kernels")
        check_choice(self, "minibatch", MINIBATCH)
        check_choice(self, "output", OUTPUTS)
        check_choice(self, "norm", NORMS)
        check_choice(self, "discriminator_norm", NORMS)
        check_choice(self, "condition", CONDITIONS)
        check_init(self.init)
        activation(self.activation, self.slope)

    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> Generator:
        """Codes to points of any shape."""
        check_sizes(latent, classes)
        layers = self._hidden(latent + classes, self.width, self.depth, self.norm, False)
        layers += [nn.Linear(self.width, volume(shape)), *output_layers(self.output, shape)]
        net = Generator(nn.Sequential(*layers), latent, shape, classes)
        initialise(net, self.init)
        return net

    def discriminator(self, shape: tuple[int, ...], classes: int = 0) -> Head:
        """Points to logits."""
        check_sizes(1, classes)
        joined = classes if self.condition == "concat" else 0
        trunk = self._trunk(shape, joined, self.spectral_norm, self.minibatch)
        net = Head(trunk, classes - joined, self.spectral_norm, self.condition == "classifier")
        initialise(net, self.init)
        return net

    def trunk(self, shape: tuple[int, ...], classes: int = 0) -> Trunk:
        """Points to ``discriminator_width`` features."""
        check_sizes(1, classes)
        net = self._trunk(shape, classes, self.spectral_norm, self.minibatch)
        initialise(net, self.init)
        return net

    def encoder(self, shape: tuple[int, ...], latent: int) -> Encoder:
        """Points to codes; never spectrally normalised."""
        check_sizes(latent, 0)
        net = Encoder(self._trunk(shape, 0, False), latent)
        initialise(net, self.init)
        return net

    def _trunk(self, shape: tuple[int, ...], classes: int, constrained: bool, minibatch: str = "none") -> Trunk:
        width = self.discriminator_width or self.width
        depth = self.discriminator_depth or self.depth
        layers = self._hidden(volume(shape) + classes, width, depth, self.discriminator_norm, constrained)
        more, features = minibatch_layer(minibatch, width, self.kernels)
        return Trunk(nn.Sequential(*layers, *more), shape, features, classes, scale=self.input_scale)

    def _hidden(self, inputs: int, width: int, depth: int, norm: str, constrained: bool) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for index in range(depth):
            layers.append(spectral(nn.Linear(width if index else inputs, width, bias=norm != "batch"), constrained))
            if norm != "none":
                layers.append(norm_layer(norm, width))
            layers.append(activation(self.activation, self.slope))
        return layers


@record
class MaxoutPair(Networks):
    """The perceptrons of Goodfellow et al. 2014 on MNIST (their code): ReLU against maxout with dropout.

    The paper's generator ends in a sigmoid for data in [0, 1]; for data in [-1, 1] this corresponds to a tanh. PacGAN's
    2-D networks (Lin et al. 2018) are ``MaxoutPair(width=400, depth=4, norm="batch", discriminator_width=200,
    discriminator_depth=3, input_dropout=0.0, dropout=0.0, init="normal02", discriminator_init="normal02")``.

    Args:
        width: units of each hidden layer of the generator.
        depth: hidden layers of the generator.
        discriminator_width: maxout units of each hidden layer of the discriminator.
        discriminator_depth: hidden layers of the discriminator.
        pieces: affine maps per maxout unit.
        input_dropout: share of the discriminator's inputs dropped.
        dropout: share of its hidden units dropped.
        norm: ``none``, ``batch`` or ``layer`` in the generator.
        output: as in :class:`MLPPair`.
        init: the generator's initialisation.
        discriminator_init: the discriminator's, trunk's and encoder's.
        condition: how the discriminator uses a label, ``concat``, ``projection`` or ``classifier``.

    Raises:
        ConfigError: a field has a value that is not allowed.

    Examples:
        >>> D = MaxoutPair().discriminator((1, 28, 28))
        >>> sum(p.numel() for p in D.parameters())
        1231441
    """

    width: int = 1200
    depth: int = 2
    discriminator_width: int = 240
    discriminator_depth: int = 2
    pieces: int = 5
    input_dropout: float = 0.2
    dropout: float = 0.5
    norm: str = "none"
    output: str = "auto"
    init: str = "uniform05"
    discriminator_init: str = "uniform005"
    condition: str = "concat"

    def __post_init__(self) -> None:
        """Check every field."""
        check_counts(self, 1, "width", "depth", "discriminator_width", "discriminator_depth")
        check_counts(self, 2, "pieces")
        check_share(self, "input_dropout", "dropout")
        check_choice(self, "norm", NORMS)
        check_choice(self, "output", OUTPUTS)
        check_choice(self, "condition", CONDITIONS)
        check_init(self.init)
        check_init(self.discriminator_init)

    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> Generator:
        """Codes to points of any shape."""
        plain = MLPPair(
            width=self.width, depth=self.depth, activation="relu", init=self.init, norm=self.norm, output=self.output
        )
        return plain.generator(latent, shape, classes)

    def discriminator(self, shape: tuple[int, ...], classes: int = 0) -> Head:
        """Points to logits."""
        check_sizes(1, classes)
        joined = classes if self.condition == "concat" else 0
        net = Head(self._trunk(shape, joined), classes - joined, auxiliary=self.condition == "classifier")
        initialise(net, self.discriminator_init)
        return net

    def trunk(self, shape: tuple[int, ...], classes: int = 0) -> Trunk:
        """Points to ``discriminator_width`` features."""
        check_sizes(1, classes)
        net = self._trunk(shape, classes)
        initialise(net, self.discriminator_init)
        return net

    def encoder(self, shape: tuple[int, ...], latent: int) -> Encoder:
        """Points to codes, with the dropout of the discriminator."""
        check_sizes(latent, 0)
        net = Encoder(self._trunk(shape, 0), latent)
        initialise(net, self.discriminator_init)
        return net

    def _trunk(self, shape: tuple[int, ...], classes: int) -> Trunk:
        layers: list[nn.Module] = [nn.Dropout(self.input_dropout)] if self.input_dropout else []
        inputs = volume(shape) + classes
        for _ in range(self.discriminator_depth):
            layers.append(Maxout(inputs, self.discriminator_width, self.pieces))
            layers += [nn.Dropout(self.dropout)] if self.dropout else []
            inputs = self.discriminator_width
        return Trunk(nn.Sequential(*layers), shape, inputs, classes)
