"""pythae's adversarial autoencoder with its own trainer and default perceptrons on MNIST; run by driver.py.

The library ships no script, so this is a minimal one according to its documentation: batch 100, codes of 8 numbers.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np

DIGITS = Path("../../data/mnist/MNIST/raw/train-images-idx3-ubyte")


def main() -> None:
    """Train until the driver ends the process."""
    models, trainers = import_module("pythae.models"), import_module("pythae.trainers")
    x = np.frombuffer(DIGITS.read_bytes(), dtype=np.uint8, offset=16).reshape(-1, 1, 28, 28).astype(np.float32) / 255
    model = models.Adversarial_AE(models.Adversarial_AE_Config(input_dim=(1, 28, 28), latent_dim=8))
    plan = trainers.AdversarialTrainerConfig(output_dir="out", per_device_train_batch_size=100, no_cuda=True)
    pipeline = import_module("pythae.pipelines").TrainingPipeline(training_config=plan, model=model)
    pipeline(train_data=x)


if __name__ == "__main__":
    main()
