"""How a run is carried out."""

from __future__ import annotations

import torch

from ..base.errors import ConfigError
from ..base.records import record


@record
class Settings:
    """How a run is carried out; nothing here changes what is learnt but the precision and ``auto_remedy``.

    The memory format changes the order in which numbers are added, and so the last bits.

    Args:
        device: ``"auto"`` (an accelerator where there is one), ``"cpu"``, ``"cuda"``, …
        precision: ``"float32"``, or ``"bfloat16"`` (autocast; losses and slope penalties stay in float32).
        memory_format: how images lie in memory: ``"auto"`` (what is faster for these networks here; run.json says what
            was chosen, and a resumed run keeps it), ``"contiguous"`` or ``"channels_last"``.
        launch: how turns reach a GPU: ``"kernels"``, or ``"graphs"``: each turn is recorded once as a CUDA graph and
            replayed (the same numbers; one that cannot be is played kernel by kernel, and a warning says so).
            ``"auto"`` is ``"kernels"`` until graphs have been measured on a GPU.
        log_every: rounds between two lines of metrics.jsonl; None for 200 lines a run.
        sample_every: rounds between two kept samples; None for 12 a run.
        checkpoint_every: rounds between two checkpoints; None for 10 a run.
        keep: checkpoints kept, the newest.
        progress: whether to show a progress bar.
        evaluate: whether a run is judged when it is finished.
        doctor: whether the doctor looks at the run as it goes; it changes nothing of it.
        auto_remedy: whether, when the doctor finds something critical, the run goes back to the checkpoint before its
            onset and on from there with the doctor's remedy in its recipe: at most three times, no remedy twice. At
            least a dozen checkpoints are kept.
        trackers: ``"tensorboard"``, ``"wandb"``, …, through accelerate.

    Raises:
        ConfigError: a value outside its rule.
    """

    device: str = "auto"
    precision: str = "float32"
    memory_format: str = "auto"
    launch: str = "auto"
    log_every: int | None = None
    sample_every: int | None = None
    checkpoint_every: int | None = None
    keep: int = 3
    progress: bool = True
    evaluate: bool = True
    doctor: bool = True
    auto_remedy: bool = False
    trackers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.precision not in {"float32", "bfloat16"}:
            raise ConfigError(f"precision '{self.precision}'", "use float32 or bfloat16")
        if self.memory_format not in {"auto", "contiguous", "channels_last"}:
            raise ConfigError(f"memory_format '{self.memory_format}'", "use auto, contiguous or channels_last")
        if self.launch not in {"auto", "graphs", "kernels"}:
            raise ConfigError(f"launch '{self.launch}'", "use auto, graphs or kernels")
        if self.auto_remedy and not self.doctor:
            raise ConfigError("auto_remedy=True without the doctor, who finds what to remedy", "leave doctor=False out")
        for name in ("log_every", "sample_every", "checkpoint_every", "keep"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name}={value}", "use at least 1")

    def where(self) -> torch.device:
        """The device.

        Raises:
            ConfigError: there is no such device here.
        """
        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            probe = torch.ones(1, device=name)
            probe.item()  # the meta device has no numbers to give
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ConfigError(f"device '{name}' is not available here", "use --device cpu") from error
        return probe.device
