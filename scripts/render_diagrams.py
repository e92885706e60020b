"""Draw the network diagrams of docs/theory: who reads what, and which loss trains whom.

    python scripts/render_diagrams.py

writes docs/images/diagram_gan.png and docs/images/diagram_aae.png. Boxes are networks, plain words are tensors, and on
the right are the losses, in the colour of the network that they train.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from equilibria.figures.images import INK
from equilibria.figures.panels import FONT, PALETTE, panels, rendered

OUT = Path(__file__).resolve().parents[1] / "docs" / "images"
Place = tuple[float, float]
Edges = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Node:
    """A network (``box``) or a tensor, with its centre in inches."""

    text: str
    at: Place
    box: bool = False
    colour: str = INK


GAN = (
    {
        "z": Node("latent code\nz ~ p_z", (0.6, 0.5)),
        "G": Node("generator G", (2.2, 0.5), True, PALETTE[1]),
        "fake": Node("G(z)", (3.6, 0.5)),
        "x": Node("data\nx ~ p", (3.6, 1.5)),
        "D": Node("discriminator D", (5.2, 1.0), True, PALETTE[0]),
        "up": Node("D ascends\nlog D(x) + log(1 − D(G(z)))", (8.0, 1.45), False, PALETTE[0]),
        "down": Node("G descends, through D\nlog(1 − D(G(z))) or −log D(G(z))", (8.0, 0.55), False, PALETTE[1]),
    },
    (("z", "G"), ("G", "fake"), ("fake", "D"), ("x", "D"), ("D", "up"), ("D", "down")),
    (9.6, 2.0),
)
AAE = (
    {
        "x": Node("data\nx", (0.4, 2.2)),
        "E": Node("encoder q(z|x)", (1.9, 2.2), True, PALETTE[1]),
        "code": Node("code\nz", (3.5, 2.2)),
        "R": Node("decoder p(x|z)", (5.2, 2.2), True, PALETTE[2]),
        "out": Node("encoder and decoder descend\nthe squared error of x", (8.3, 2.2), False, PALETTE[2]),
        "prior": Node("prior\nz' ~ p(z)", (3.5, 0.8)),
        "D": Node("discriminator D\nof codes", (5.2, 0.8), True, PALETTE[0]),
        "up": Node("D ascends log D(z') + log(1 − D(z))", (8.3, 1.2), False, PALETTE[0]),
        "down": Node("encoder descends, through D, −log D(z)", (8.3, 0.4), False, PALETTE[1]),
    },
    (("x", "E"), ("E", "code"), ("code", "R"), ("R", "out"), ("code", "D"), ("prior", "D"), ("D", "up"), ("D", "down")),
    (10.0, 2.7),
)


def drawn(nodes: dict[str, Node], edges: Edges, size: Place) -> Figure:
    """The diagram as a figure of ``size`` inches."""
    figure, (axes,) = panels(width=size[0], height=size[1])
    axes.set(xlim=(0, size[0]), ylim=(0, size[1]), aspect="equal")
    axes.set_axis_off()
    boxes = {name: _place(axes, node) for name, node in nodes.items()}
    for edge in edges:
        _connect(axes, nodes, boxes, edge)
    return figure


def _place(axes: Axes, node: Node) -> FancyBboxPatch:
    lines = node.text.split("\n")
    width, height = 0.08 * max(map(len, lines)) + 0.16, 0.2 * len(lines) + 0.14
    box = FancyBboxPatch(
        (node.at[0] - width / 2, node.at[1] - height / 2), width, height, boxstyle="round,pad=0.02",
        facecolor="#f6f6f6" if node.box else "white", edgecolor=node.colour if node.box else "none", linewidth=1.2,
    )  # fmt: skip
    axes.add_patch(box)
    axes.text(*node.at, node.text, ha="center", va="center", fontsize=8.5, color=node.colour, family=FONT)
    return box


def _connect(axes: Axes, nodes: dict[str, Node], boxes: dict[str, FancyBboxPatch], edge: tuple[str, str]) -> None:
    start, end = edge
    arrow = FancyArrowPatch(
        nodes[start].at, nodes[end].at, patchA=boxes[start], patchB=boxes[end], shrinkA=2, shrinkB=2,
        arrowstyle="-|>", mutation_scale=9, linewidth=1.0, color=INK,
    )  # fmt: skip
    axes.add_patch(arrow)


if __name__ == "__main__":
    for name, (nodes, edges, size) in {"gan": GAN, "aae": AAE}.items():
        (OUT / f"diagram_{name}.png").write_bytes(rendered(drawn(nodes, edges, size), colors=64))
