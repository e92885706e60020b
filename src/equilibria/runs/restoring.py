"""A play at a round that its run has kept."""

from __future__ import annotations

from pathlib import Path

from ..base.errors import RunError
from ..core.play import Play
from ..training import best, checkpoint


def restore_best(path: Path, play: Play) -> None:
    """Bring the play to the round that is kept as the best one."""
    found = best.kept(path / best.FOLDER)
    if not found:
        again = "leave --best out (in Python: best_round=False): the newest checkpoint is used"
        raise RunError(f"{path} keeps no best round", again)
    try:
        saved = checkpoint.read(found[0].path)
    except checkpoint.DamagedError as error:
        raise RunError(f"{found[0].path} is damaged ({error})", "leave --best out") from error
    play.load(saved.tensors, saved.round, saved.turn)
