"""The table of ``scripts/judge_public.py``: what it plants exists. The runs need the public repositories."""

import sys
from pathlib import Path

from equilibria.doctor import CONDITIONS

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from judge_public_cases import ENTRIES


def test_every_fault_is_a_condition_and_every_name_is_unique():
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names) >= 8
    for entry in ENTRIES:
        forms = ["healthy", *(fault.name for fault in entry.faults)]
        assert len(set(forms)) == len(forms) >= 3, entry.name
        assert {fault.condition for fault in entry.faults} <= set(CONDITIONS), entry.name
        assert all(old != new for fault in entry.faults for old, new in fault.edits), entry.name
        assert len(entry.commit) == 40 and "/" in entry.repository
