"""Settings of a run: device, precision, and how often to log, sample and save."""

from __future__ import annotations

import torch

from ..base.errors import ConfigError, not_known
from ..base.records import record

_WORDS = {
    "precision": ("float32", "bfloat16"),
    "memory_format": ("auto", "contiguous", "channels_last"),
    "launch": ("auto", "graphs", "eager", "kernels"),
}


@record
class Settings:
    """Settings of a run. Only the precision and ``auto_remedy`` change the result of training.

    The memory format changes the order of additions, and so the last bits.

    Args:
        device: ``"auto"`` (a GPU if there is one, otherwise the CPU), ``"cpu"``, ``"cuda"``, …
        precision: ``"float32"``, or ``"bfloat16"`` (autocast; losses and slope penalties stay in float32).
        memory_format: ``"auto"`` (the faster one for these networks on this machine; run.json records the choice and a
            resumed run keeps it), ``"contiguous"`` or ``"channels_last"``.
        launch: how turns run on a GPU. ``"eager"``: one kernel at a time. ``"graphs"``: each turn is captured once as a
            CUDA graph and replayed, with the same numbers; a turn that cannot be captured stays eager, and a warning
            says so. ``"auto"`` is ``"eager"`` until graphs have been measured on a GPU. ``"kernels"`` is the old name
            of ``"eager"``.
        log_every: rounds between two lines of metrics.jsonl; None for 200 lines per run.
        sample_every: rounds between two stored samples; None for 12 per run.
        checkpoint_every: rounds between two checkpoints; None for 10 per run.
        keep: number of newest checkpoints that are kept.
        best: what decides which round's weights are kept besides as the best ones, measured at 20 rounds per run:
            ``"distance"`` (of samples to held-out rows), the name of a metric of an evaluation (slower), or ``"none"``.
        progress: whether to show a progress bar.
        evaluate: whether a finished run is evaluated.
        report: whether its report is written at the end; ``equilibria report RUN`` writes it later.
        doctor: whether the doctor examines the run during training; it does not change the run.
        auto_remedy: whether, after a critical finding of the doctor, the run goes back to the checkpoint before the
            onset and continues with the doctor's remedy in its recipe: at most three times, each remedy once. At
            least 12 checkpoints are kept.
        trackers: ``"tensorboard"``, ``"wandb"``, …, through accelerate.

    Raises:
        ConfigError: a value that is not allowed.
    """

    device: str = "auto"
    precision: str = "float32"
    memory_format: str = "auto"
    launch: str = "auto"
    log_every: int | None = None
    sample_every: int | None = None
    checkpoint_every: int | None = None
    keep: int = 3
    best: str = "distance"
    progress: bool = True
    evaluate: bool = True
    report: bool = True
    doctor: bool = True
    auto_remedy: bool = False
    trackers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                raise not_known(name, getattr(self, name), words)
        if self.auto_remedy and not self.doctor:
            raise ConfigError("auto_remedy=True needs the doctor's findings", settings={"doctor": True})
        for name in ("log_every", "sample_every", "checkpoint_every", "keep"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name}={value} is below 1", settings={name: 1})

    def where(self) -> torch.device:
        """The device.

        Raises:
            ConfigError: this machine has no such device.
        """
        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            probe = torch.ones(1, device=name)
            probe.item()  # fails on the meta device, which holds no values
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ConfigError(f"device '{name}' is not available here", "use --device cpu") from error
        return probe.device
