"""What starting costs: which libraries the quick commands import, and the processor time beside python's own."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "scipy", "sklearn", "matplotlib", "pandas", "PIL", "datasets", "accelerate", "safetensors")
ENTRY = "import sys; from equilibria.cli import main; "
SAID = "; print('IMPORTED', *sorted({name.partition('.')[0] for name in sys.modules}))"


def imported(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code + SAID], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("IMPORTED")[2].split())


@pytest.mark.parametrize(
    "code",
    [
        "import sys, equilibria",
        ENTRY + "main(['--help'])",
        ENTRY + "main(['train', '--help'])",
        ENTRY + "main(['evaluate', '--help'])",
    ],
)
def test_help_imports_no_library_that_takes_time(code: str) -> None:
    found = imported(code)
    assert "equilibria" in found
    assert not found & set(HEAVY)


@pytest.mark.parametrize("code", [ENTRY + "main(['recipes'])", ENTRY + "main(['runs', 'no/such/folder'])"])
def test_lists_import_nothing_that_draws_or_fits(code: str) -> None:
    """Each of these libraries takes as long to import as the command itself."""
    found = imported(code)
    assert "torch" in found and not found & {"scipy", "sklearn", "matplotlib", "pandas", "sympy"}


def test_the_same_question_sees_torch_where_it_is_imported() -> None:
    assert "torch" in imported("import sys, equilibria; equilibria.Play")


def processor_seconds(*arguments: str) -> float:
    """The least of three: whatever else runs only ever adds."""
    found = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def test_help_and_import_cost_less_than_they_may() -> None:
    python = processor_seconds("-c", "pass")
    assert processor_seconds("-c", "import equilibria") - python <= 0.3
    assert processor_seconds("-c", ENTRY + "main(['--help'])") - python <= 0.5
