"""Training: the loop, what looks at it, and checkpoints."""

from .checkpoint import save
from .trainer import Hook, fit

__all__ = ["Hook", "fit", "save"]
