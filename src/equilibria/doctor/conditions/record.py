"""How often a measured finding was right; written by scripts/exam_record.py from the held-out exam."""

from __future__ import annotations

EXAM = "41a0f7a"
"""The commit of the exam."""

RECORD: dict[str, tuple[int, int]] = {
    "batchnorm-leakage": (5, 5),
    "data-range-mismatch": (10, 10),
    "discriminator-blind": (10, 11),
    "discriminator-never-updated": (5, 5),
    "discriminator-overfitted": (2, 2),
    "discriminator-too-strong": (5, 5),
    "discriminator-too-weak": (5, 7),
    "divergence": (1, 2),
    "double-sigmoid": (5, 6),
    "generator-lacks-capacity": (3, 3),
    "generator-never-updated": (10, 10),
    "gradients-accumulate": (5, 5),
    "label-ignored": (5, 5),
    "latent-ignored": (5, 5),
    "latent-too-small": (5, 5),
    "lipschitz-too-tight": (5, 5),
    "lipschitz-violated": (1, 1),
    "memorisation": (8, 8),
    "mode-dropping": (5, 6),
    "mode-hopping": (5, 5),
    "noisy-generator-gradient": (5, 6),
    "not-a-number": (15, 15),
    "oscillation": (9, 9),
    "output-saturation": (5, 5),
    "overflow": (0, 8),
    "parameters-not-optimised": (5, 5),
    "same-batch-twice": (10, 12),
    "swapped-labels": (5, 5),
    "train-eval-mismatch": (5, 5),
    "vanishing-generator-gradient": (5, 5),
    "wrong-player-trained": (5, 5),
}
"""Of the runs of the exam in which a condition came first: how many had it, and how many there were."""
