"""Networks that misuse their inputs, and numbers that grow without bound."""

from __future__ import annotations

from .row import Planted, both, fault, loop_with, nets_with

_EXPLODING = loop_with(optimizer="sgd", objective="least-squares", rate=3.0, rate_d=3.0)
_BURST = ("exploding-gradient", "divergence", "not-a-number", "overflow")
PLANTED = (
    Planted("exploding", _BURST, _EXPLODING),
    Planted("divergence", ("divergence", "exploding-gradient"), loop_with(rate=0.5, rate_d=0.5)),
    Planted("label-hidden", ("label-ignored",), fault("label-hidden"), setting="labelled", measure="agreement"),
    Planted("deaf-generator", ("latent-ignored",), nets_with(ignore_code=True), setting="labelled-digits"),
    Planted("one-latent", ("latent-too-small",), nets_with(latent=1), setting="digits"),
    Planted("range-sigmoid", ("data-range-mismatch",), nets_with(output="sigmoid"), setting="digits"),
    Planted("range-bytes", ("data-range-mismatch",), loop_with(scale=127.5), setting="digits"),
    Planted("saturated-output", ("output-saturation",), nets_with(gain=1000.0), setting="digits"),
    Planted(
        "unconstrained-critic",
        ("lipschitz-violated",),
        loop_with(penalty=0.0, rate_d=0.005, rate=0.005, momentum=0.9),
        setting="wgan",
    ),
    Planted("tight-clipping", ("lipschitz-too-tight",), loop_with(penalty=0.0, clip=0.001), setting="wgan"),
    Planted("frozen-statistics", ("train-eval-mismatch",), fault("frozen-statistics"), setting="batchnorm"),
    Planted(
        "leaking-batches",
        ("batchnorm-leakage",),
        both(nets_with(norm_d="batch"), loop_with(r1=0.0)),
        setting="batchnorm",
    ),
)
