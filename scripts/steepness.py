"""Gradients as an early sign of collapse, beside the doctor: how long before the collapse, and how often falsely?

python scripts/steepness.py                # docs/results/steepness.json
python scripts/steepness.py --seeds 1 --out /tmp/one.json

"Evolution of Discriminator and Generator Gradients in GAN Training: From Fitting to Collapse" (TMLR 2025) proposes the
generator's steepness (how far a sample moves with its code) and the discriminator's gradient at samples as signs of
collapse. The abstract names both and says that a metric integrates them; its formula was not at hand, so three forms
are measured: each alone, and their product by the chain rule, the norm of the gradient of D(G(z)) in z.

Plain loops on eight and on 25 Gaussians: sound ones, with R1 and without, and loops whose rates jump, or rise slowly,
from half of the run. The collapse is when at most six tenths of the components have a quarter of their share of
samples. A sign alarms when it leaves its median over the last ten looks by a factor; the factor is the smallest one
without an alarm in the sound runs of seed 0, and false alarms are counted in the sound runs of the other seeds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from equilibria.base.provenance import commit
from equilibria.data import load
from equilibria.doctor import Doctor

STEPS, LOOK, FIRST = 2000, 20, 400
SOUND, FAULTY = ("sound with R1", "sound without"), ("rates jump", "rates rise")
SIGNS = ("steepness", "discriminator's gradient", "product")
OUT = Path(__file__).resolve().parents[1] / "docs" / "results" / "steepness.json"


def perceptron(inputs: int, outputs: int) -> nn.Sequential:
    act = nn.LeakyReLU(0.2)
    return nn.Sequential(nn.Linear(inputs, 96), act, nn.Linear(96, 96), act, nn.Linear(96, outputs))


def run(kind: str, law: str, seed: int) -> dict[str, Any]:
    """One loop: the share of components with samples and the signs at each look, and what the doctor first says."""
    torch.manual_seed(seed)
    data = load(law)
    assert data.law is not None
    assert data.law.modes is not None
    x = data.take(8000)["x"]
    centres, x = data.law.modes.float() / x.std(), x / x.std()
    G, D = perceptron(8, 2), perceptron(2, 1)
    opt_g, opt_d = (optim.Adam(net.parameters(), 2e-3, (0.0, 0.99)) for net in (G, D))
    doctor = Doctor(G, D, real=x, latent=8)
    looks: list[dict[str, float]] = []
    told: tuple[int, list[str]] | None = None
    asked = 0
    for step in range(1, STEPS + 1):
        faulty = kind in FAULTY and step >= STEPS // 2
        for group in (opt_g.param_groups + opt_d.param_groups) if faulty else ():
            group["betas"] = (0.95, 0.999)
            group["lr"] = 1e-2 if kind == "rates jump" else min(1e-2, group["lr"] * 1.002)
        _step(G, D, opt_g, opt_d, x, 0.0 if faulty or kind == "sound without" else 0.1)
        doctor.check(step)
        if step % LOOK == 0:
            looks.append({"step": step, **_signs(G, D, centres)})
            made, asked = len(doctor.chart.checkups) > asked, len(doctor.chart.checkups)
            if made and told is None and step >= FIRST and (found := doctor.diagnose().active):
                told = step, [f.condition for f in found]
    return {"kind": kind, "law": law, "seed": seed, "looks": looks, "doctor": told}


def _step(G: nn.Module, D: nn.Module, opt_g: Any, opt_d: Any, x: Tensor, gamma: float) -> None:
    real = x[torch.randint(len(x), (128,))].requires_grad_()
    scores = D(real)
    loss = F.softplus(-scores).mean() + F.softplus(D(G(torch.randn(128, 8)).detach())).mean()
    if gamma:
        (slope,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
        loss = loss + gamma / 2 * slope.square().sum(1).mean()
    opt_d.zero_grad()
    loss.backward()
    opt_d.step()
    opt_g.zero_grad()
    F.softplus(-D(G(torch.randn(128, 8)))).mean().backward()
    opt_g.step()


def _signs(G: nn.Module, D: nn.Module, centres: Tensor) -> dict[str, float]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        z, u = torch.randn(1000, 8, requires_grad=True), F.normalize(torch.randn(1000, 8), dim=1)
    made = G(z)
    at = made.detach().requires_grad_()
    (of_x,) = torch.autograd.grad(D(at).sum(), at)
    (of_z,) = torch.autograd.grad(D(made).sum(), z)
    with torch.no_grad():
        moved = (G(z + 1e-3 * u) - made).norm(dim=1) / 1e-3
    found = torch.cdist(made.detach(), centres).argmin(1).bincount(minlength=len(centres))
    return {
        "components": float((found >= 250 / len(centres)).float().mean()),
        "steepness": float(moved.square().mean().sqrt()),
        "discriminator's gradient": float(of_x.norm(dim=1).mean()),
        "product": float(of_z.norm(dim=1).mean()),
    }


def collapse(looks: list[dict[str, float]]) -> int | None:
    """The first step at which components are lost for three looks."""
    lost = [one["components"] <= 0.6 for one in looks]
    return next((int(looks[i]["step"]) for i in range(FIRST // LOOK, len(looks) - 2) if all(lost[i : i + 3])), None)


def departures(looks: list[dict[str, float]], sign: str) -> list[tuple[int, float]]:
    """At each look, the factor by which a sign differs from its median over the last ten looks."""
    values = [math.log(max(one[sign], 1e-12)) for one in looks]
    return [
        (int(looks[i]["step"]), math.exp(abs(values[i] - statistics.median(values[i - 10 : i]))))
        for i in range(FIRST // LOOK, len(looks))
    ]


def judged(runs: list[dict[str, Any]], sign: str) -> dict[str, Any]:
    """The lead of a sign in each run with a collapse, and its false alarms."""
    sound = [r for r in runs if r["kind"] in SOUND]
    factor = max(by for r in sound if r["seed"] == 0 for _, by in departures(r["looks"], sign))
    first = {i: next((at for at, by in departures(r["looks"], sign) if by > factor), None) for i, r in enumerate(runs)}
    return {"factor": round(factor, 2), **_leads(runs, first)}


def _leads(runs: list[dict[str, Any]], first: dict[int, int | None]) -> dict[str, Any]:
    leads: dict[str, list[int | None]] = {kind: [] for kind in FAULTY}
    for i, one in enumerate(runs):
        at, alarm = collapse(one["looks"]), first[i]
        if one["kind"] in FAULTY and at is not None:
            leads[one["kind"]].append(None if alarm is None or alarm < STEPS // 2 else at - alarm)
    others = [i for i, r in enumerate(runs) if r["kind"] in SOUND and r["seed"] != 0]
    false = [i for i in others if first[i] is not None]
    early = [i for i, r in enumerate(runs) if r["kind"] in FAULTY and (first[i] or STEPS) < STEPS // 2]
    return {
        "lead in steps": leads,
        "false alarms in sound runs": f"{len(false)} of {len(others)}",
        "alarms before the fault": len(early),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs = []
    for law, kind, seed in itertools.product(("ring8-U", "grid25"), SOUND + FAULTY, range(options.seeds)):
        runs.append(run(kind, law, seed))
        print(law, kind, seed, "collapse", collapse(runs[-1]["looks"]), "doctor", runs[-1]["doctor"], flush=True)
    doctor = {i: one["doctor"][0] if one["doctor"] else None for i, one in enumerate(runs)}
    record = {
        "command": "python scripts/steepness.py",
        "commit": commit(),
        "seeds": options.seeds,
        "steps": STEPS,
        **{sign: judged(runs, sign) for sign in SIGNS},
        "doctor": {
            **_leads(runs, doctor),
            "said": [[r["law"], r["kind"], r["seed"], collapse(r["looks"]), r["doctor"]] for r in runs],
        },
    }
    options.out.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
    print(json.dumps({k: record[k] for k in (*SIGNS, "doctor")}, indent=1, allow_nan=False))


if __name__ == "__main__":
    main()
