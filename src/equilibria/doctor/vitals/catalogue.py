"""The table of vitals: what each number is, in which unit, and where it comes from."""

from __future__ import annotations

from typing import NamedTuple


class Vital(NamedTuple):
    """One measurement.

    Attributes:
        unit: of the number.
        what: its definition, with its equation if it has one.
        source: the paper or theorem it comes from; empty for plain arithmetic.
        tier: 1 at every check-up, 2 if the discriminator or the samples require it, 3 only at a diagnosis.
    """

    unit: str
    what: str
    source: str = ""
    tier: int = 1


_AB = "Arjovsky & Bottou 2017"
VITALS: dict[str, Vital] = {
    "numbers/parameters": Vital("share", "non-finite entries of parameters and buffers"),
    "numbers/outputs": Vital("share", "non-finite entries of samples and scores"),
    "numbers/largest": Vital("value", "largest finite magnitude among parameters, samples and scores"),
    "probe/auc": Vital("probability", "an independent classifier ranks a real row above a generated one, held-out"),
    "probe/jsd": Vital(
        "nats", "lower bound on JSD(p, q): (E_p log D + E_q log(1-D) + log 4)/2 of the probe", "Goodfellow et al. 2014"
    ),
    "samples/distance": Vital("data rms", "sliced Wasserstein-1 distance of samples to real rows", "Rabin et al. 2011"),
    "samples/spread": Vital("ratio", "median distance of pairs of samples over that of pairs of real rows"),
    "samples/coverage": Vital("ratio", "coverage over that of a perfect sampler", "Naeem et al. 2020"),
    "samples/precision": Vital("ratio", "precision over that of real rows", "Kynkäänniemi et al. 2019"),
    "samples/recall": Vital("ratio", "recall over that of real rows", "Kynkäänniemi et al. 2019"),
    "samples/density": Vital("ratio", "density over that of real rows", "Naeem et al. 2020"),
    "samples/size": Vital("ratio", "root mean square of samples over that of real rows, around the real mean"),
    "samples/low": Vital("value", "smallest entry of the samples"),
    "samples/high": Vital("value", "largest entry of the samples"),
    "real/low": Vital("value", "smallest entry of the real rows"),
    "real/high": Vital("value", "largest entry of the real rows"),
    "real/outside": Vital("share", "real entries outside the range of the samples"),
    "real/column-offset": Vital("ratio", "largest mean of a column over the columns' root mean square spread"),
    "real/column-ratio": Vital("ratio", "largest spread of a column over the columns' lower median"),
    "samples/values-lost": Vital(
        "share", "largest share of real rows whose value of a discrete column almost no sample has"
    ),
    "samples/at-edge": Vital("share", "entries of samples within 0.5 % of the range's limits"),
    "real/at-edge": Vital("share", "entries of real rows at the same limits"),
    "samples/duplicates": Vital("share", "samples that are near copies of another", "Arora & Zhang 2018"),
    "samples/support": Vital(
        "samples",
        "number of distinct samples by the birthday test, lower limit of its 95 % interval",
        "Arora & Zhang 2018",
    ),
    "samples/dimension": Vital(
        "dimensions", "intrinsic dimension of the samples (two nearest neighbours)", "Facco et al. 2017"
    ),
    "samples/memorised": Vital(
        "ratio", "how often the nearest real row of a sample is an unseen one, over how often by chance"
    ),
    "samples/memorised-by-chance": Vital("ratio", "the lowest such ratio that chance gives, with so many unseen rows"),
    "samples/closer": Vital(
        "ratio",
        "distance of the samples to the training rows over that of unseen real rows to them",
        "Arora et al. 2017",
    ),
    "samples/closer-by-chance": Vital("ratio", "the lowest such ratio that chance gives, with so many unseen rows"),
    "samples/train-distance": Vital("data rms", "samples/distance with both networks in train mode"),
    "samples/eval-distance": Vital("data rms", "samples/distance with both networks in eval mode"),
    "cells/missing": Vital("share", "real mass of cells (k-means) with almost no samples"),
    "cells/covered": Vital("share", "cells that contain samples"),
    "latent/dependence": Vital("ratio", "how far a sample moves when only its code changes, over the data's spread"),
    "latent/own-noise": Vital("ratio", "how far a sample moves when only the network's own noise changes"),
    "latent/stretch": Vital(
        "data rms per unit", "largest singular value of the generator's Jacobian in its code", "Odena et al. 2018", 3
    ),
    "latent/rank": Vital("directions", "(sum s^2)^2 / sum s^4 of those singular values s", "", 3),
    "latent/conditioning": Vital(
        "ratio", "largest over the k-th of those, k the data's dimension or the code's", "Odena et al. 2018", 3
    ),
    "noise/inseparable": Vital(
        "data rms",
        "least Gaussian noise on both sides under which the probe's AUC is below 0.6",
        f"{_AB}, section 3",
        3,
    ),
    "label/agreement": Vital("share", "samples whose nearest real rows have the label asked for"),
    "label/score-change": Vital("spread of the scores", "largest change of a score if rows get another's label"),
    "label/chance": Vital("share", "agreement if labels are ignored"),
    "scores/auc": Vital("probability", "the discriminator ranks a real row above a generated one"),
    "scores/real": Vital("logit", "mean score of real rows"),
    "scores/fake": Vital("logit", "mean score of generated rows"),
    "scores/spread": Vital("logit", "standard deviation of all scores"),
    "scores/certainty": Vital("logit", "median magnitude of all scores"),
    "scores/unseen": Vital("logit", "mean score of held-out rows"),
    "scores/unseen-auc": Vital("probability", "the discriminator ranks an unseen real row above a generated one"),
    "scores/seen-unseen-auc": Vital(
        "probability", "the discriminator ranks a training row above an unseen one", "Arora et al. 2017"
    ),
    "scores/mixed-auc": Vital("probability", "scores/auc when real and generated rows share their batches"),
    "slopes/real": Vital(
        "logit per unit", "mean norm of the score's input gradient on real rows", "Mescheder et al. 2018"
    ),
    "slopes/fake": Vital("logit per unit", "the same on generated rows"),
    "slopes/between": Vital("logit per unit", "the same between real and generated rows", "Gulrajani et al. 2017"),
    "slopes/largest": Vital("logit per unit", "the largest of those"),
    "gradient/declared": Vital("norm", "gradient of the generator's declared loss in its parameters, mean of 4 draws"),
    "gradient/saturating": Vital("norm", "gradient of log(1 - D(G(z)))", f"{_AB}, Theorem 2.4"),
    "gradient/nonsaturating": Vital("norm", "gradient of -log D(G(z))", f"{_AB}, Theorem 2.5"),
    "gradient/bound": Vital(
        "norm", "M eps/(1 - eps), what gradient/saturating can be at most near a perfect D", f"{_AB}, Theorem 2.4", 3
    ),
    "gradient/snr": Vital("ratio", "squared norm of the mean gradient over its variance between batches of 64"),
    "gradient/step-snr": Vital("ratio", "the same for the loop's own batches, from Adam's or RMSprop's second moment"),
    "gradient/reach": Vital("share", "trainable tensors of the generator with a non-zero gradient"),
    "gradient/agreement": Vital(
        "cosine", "between the gradient that the loop's last batch left in .grad and the mean of 4 draws"
    ),
    "gradient/burst": Vital("ratio", "largest over median gradient norm of 4 draws", f"{_AB}, Theorem 2.6"),
    "gradient/tail": Vital(
        "index",
        "Hill's tail index of the declared loss's gradient norms over generated rows; no variance at or below 2, no "
        "mean at or below 1",
        f"{_AB}, Theorem 2.6; Hill 1975",
        3,
    ),
    "motion/generator": Vital("per step", "relative movement of the generator's parameters since the last check-up"),
    "motion/discriminator": Vital("per step", "the same for the discriminator"),
    "motion/turn-generator": Vital("cosine", "between the generator's last two displacements", "Berard et al. 2020"),
    "motion/turn-discriminator": Vital("cosine", "between the discriminator's last two displacements"),
    "motion/path-generator": Vital("cosine", "between the displacement since the start and the last displacement"),
    "motion/path-discriminator": Vital("cosine", "the same for the discriminator"),
    "size/generator": Vital("ratio", "norm of the generator's parameters over that at the start"),
    "size/discriminator": Vital("ratio", "the same for the discriminator"),
    "units/dead-generator": Vital("share", "ReLU units of the generator that are zero for every sample"),
    "units/dead-discriminator": Vital("share", "the same for the discriminator, over real and generated rows"),
    "units/activity-generator": Vital("root mean square", "largest output of a layer with parameters"),
    "units/activity-discriminator": Vital("root mean square", "the same for the discriminator"),
    "wiring/still-generator": Vital("0 or 1", "no parameter of the generator has moved since the start"),
    "wiring/still-discriminator": Vital("0 or 1", "no parameter of the discriminator has moved since the start"),
    "wiring/unmoved-generator": Vital("share", "entries of the generator's parameters that equal those at the start"),
    "wiring/unmoved-discriminator": Vital("share", "the same for the discriminator"),
    "wiring/left-out-generator": Vital("share", "trainable parameters of the generator that no optimiser holds"),
    "wiring/left-out-discriminator": Vital("share", "the same for the discriminator"),
    "wiring/held-by-discriminator": Vital(
        "share", "the generator's parameters that the discriminator's optimiser holds"
    ),
    "wiring/held-by-generator": Vital("share", "the discriminator's parameters that the generator's optimiser holds"),
    "wiring/leftover-ratio": Vital(
        "ratio", "norm of the gradient in the generator's .grad over that of a recomputed one"
    ),
    "wiring/leftover-likeness": Vital("cosine", "between the gradients in .grad after two consecutive steps"),
    "wiring/descent": Vital("cosine", "between the discriminator's optimiser direction and the gradient of its loss"),
    "wiring/gain": Vital(
        "difference", "AUC of the discriminator now minus that of the last check-up's discriminator, on the same rows"
    ),
    "learn/discriminator": Vital(
        "probability", "AUC of a copy of the discriminator after 60 steps of its own", "Grnarova et al. 2019", 3
    ),
    "jacobian/real-part": Vital(
        "per unit of time",
        "largest real part of the eigenvalues of v', v = (-dL_G/dθ_G, -dL_D/dθ_D): above 0 the point is unstable",
        "Nagarajan & Kolter 2017",
        3,
    ),
    "jacobian/imaginary-part": Vital(
        "radians per unit of time",
        "largest imaginary part, in magnitude, of those eigenvalues: how fast the players rotate",
        "Mescheder et al. 2017",
        3,
    ),
    "jacobian/rotation": Vital(
        "ratio",
        "|Im| / |Re| of that eigenvalue: rotation against contraction; a step beyond 2 |Re| / |λ|² does not contract",
        "Mescheder et al. 2017, Lemma 4",
        3,
    ),
    "learn/generator": Vital(
        "data rms", "distance that a copy of the generator reaches when it is fitted alone", "", 3
    ),
}
"""Every vital by name."""
