"""The audit of a training step: what the loop does, read while it does it.

Two consecutive steps are recorded through read-only hooks (:mod:`.recorder`): the rows that each call of the
discriminator got, the gradient that came back to each score, what was in ``.grad`` when an optimiser stepped.
:mod:`.calls`, :mod:`.passes`, :mod:`.losses` and :mod:`.penalties` read the record, and :mod:`.readings` says of each
condition whether it holds, does not hold, or could not be read.
"""

from .audit import Audit
from .readings import Reading

__all__ = ["Audit", "Reading"]
