"""Training: the loop, its hooks, and checkpoints."""

from .checkpoint import save
from .settings import Settings
from .trainer import Hook, fit

__all__ = ["Hook", "Settings", "fit", "save"]
