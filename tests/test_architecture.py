"""The shape of the house: floors, sizes, inheritance, and what may not be imported or named.

The rules are those of docs/architecture.md. Each is a function from source text to a list of complaints, so that each
is shown to complain about a planted violation as well as to accept the package.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "equilibria"

MAX_FILE_LINES = 600  # what counts is that a file has one subject
LONG_FILE_LINES = 400  # above it a file is listed in the summary of a test run, as one to look at
MAX_FUNCTION_LINES = 50  # the docstring not counted: a statement with its equation and its example is no debt
# Without self and cls. Eight are those of `train`: recipe, data, steps, seed, out, settings, start, modules.
MAX_PARAMETERS = 8
MAX_DEPTH = 2  # abstract, final

UNPICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
REGISTRIES = [  # written in parts, so that this file does not name them
    ".".join(parts)
    for parts in [
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("download", "pytorch", "org"),
        ("anaconda", "org"),
        ("registry", "npmjs", "org"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("proxy", "golang", "org"),
    ]
]

Function = ast.FunctionDef | ast.AsyncFunctionDef


def project_files() -> list[Path]:
    """What git tracks or would track; in an unpacked archive, every file outside hidden folders."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        found = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    else:
        found = [p for p in ROOT.rglob("*") if not any(part.startswith(".") for part in p.relative_to(ROOT).parts)]
    return sorted({p for p in found if p.is_file()})


def sources(*folders: str) -> list[Path]:
    """Python files of the project, or of the folders named."""
    files = (p for p in project_files() if p.suffix == ".py")
    return [p for p in files if not folders or any(p.is_relative_to(ROOT / folder) for folder in folders)]


# Layers --------------------------------------------------------------------------------------------------------------


def lint_imports(source: Path) -> str:
    """What import-linter says of the package under ``source``, under the contracts of pyproject.toml."""
    call = "lint_imports(sys.argv[1], no_logo=True, no_cache=True)"
    code = f"import sys; from importlinter.cli import lint_imports; sys.exit({call})"
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "pyproject.toml")],
        cwd=source,
        env=os.environ | {"PYTHONPATH": str(source), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Contracts:" in done.stdout, done.stdout + done.stderr
    return done.stdout


def test_the_layers_hold() -> None:
    said = lint_imports(PACKAGE.parent)
    assert "0 broken" in said, said


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("theory", "from ..base.errors import ConfigError", "Theory imports nothing of ours"),
        ("networks", "from .. import games", "Imports point downwards"),
        ("metrics", "def late():\n    from equilibria.networks import planted", "Metrics know no network and no loss"),
        ("planted", "import torch", "Imports point downwards"),  # a package that no layer lists
    ],
)
def test_a_planted_import_breaks_its_contract(tmp_path: Path, module: str, line: str, contract: str) -> None:
    shutil.copytree(PACKAGE, tmp_path / "equilibria", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in {module, "networks", "games"}:
        (tmp_path / "equilibria" / folder).mkdir(exist_ok=True)
        (tmp_path / "equilibria" / folder / "__init__.py").touch()
        (tmp_path / "equilibria" / folder / "planted.py").touch()
    (tmp_path / "equilibria" / module / "planted.py").write_text(line + "\n")
    said = lint_imports(tmp_path)
    assert f"{contract} BROKEN" in said, said
    assert f"equilibria.{module}" in said.split("Broken contracts")[1], said


MAX_LAYERS = 10


def layout_complaints(root: list[str], layers: list[str]) -> list[str]:
    """What is wrong with the names at the root of the package, and with the number of layers."""
    found = [f"{name} stands alone at the root" for name in root if name not in {"__init__.py", "__main__.py"}]
    count = len([layer for layer in layers if "__main__" not in layer])
    return found + ([f"{count} layers, at most {MAX_LAYERS}"] if count > MAX_LAYERS else [])


def test_the_root_holds_packages_only_and_the_layers_are_few() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    assert layout_complaints([p.name for p in PACKAGE.glob("*.py")], layers) == []


def test_a_module_at_the_root_and_an_eleventh_layer_are_refused() -> None:
    assert layout_complaints(["__init__.py", "runs.py"], ["a"] * 10) == ["runs.py stands alone at the root"]
    assert layout_complaints(["__init__.py"], ["(__main__)", *"abcdefghijk"]) == ["11 layers, at most 10"]


# Sizes ---------------------------------------------------------------------------------------------------------------


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function and method, nested ones included."""
    return (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def body_lines(function: Function) -> int:
    """Lines from ``def`` to the last statement, less those of the docstring."""
    first, last = function.lineno, function.end_lineno or function.lineno
    start = function.body[0]
    has_docstring = ast.get_docstring(function, clean=False) is not None
    docstring = (start.end_lineno or start.lineno) - start.lineno + 1 if has_docstring else 0
    return last - first + 1 - docstring


def parameters(function: Function) -> int:
    """How many parameters a caller sees: ``*args`` and ``**kwargs`` count, a leading self or cls does not."""
    spec = function.args
    named = [*spec.posonlyargs, *spec.args]
    own = len(named) - (1 if named and named[0].arg in {"self", "cls"} else 0)
    return own + len(spec.kwonlyargs) + (spec.vararg is not None) + (spec.kwarg is not None)


def is_command(function: Function) -> bool:
    """Whether a function is a command of the command line (``@app.command()``): Typer makes each option a parameter."""
    calls = (d.func for d in function.decorator_list if isinstance(d, ast.Call))
    return any(isinstance(call, ast.Attribute) and call.attr == "command" for call in calls)


def size_complaints(text: str) -> list[str]:
    """What in a file is over its budget."""
    tree, found = ast.parse(text), []
    if (lines := len(text.splitlines())) > MAX_FILE_LINES:
        found.append(f"the file has {lines} lines, at most {MAX_FILE_LINES}")
    for function in functions(tree):
        if (lines := body_lines(function)) > MAX_FUNCTION_LINES:
            found.append(f"{function.name} (line {function.lineno}) has {lines} lines, at most {MAX_FUNCTION_LINES}")
        if (count := parameters(function)) > MAX_PARAMETERS and not is_command(function):
            found.append(f"{function.name} (line {function.lineno}) takes {count} parameters, at most {MAX_PARAMETERS}")
    return found


# Inheritance ---------------------------------------------------------------------------------------------------------


def base_names(node: ast.ClassDef) -> list[str]:
    """Last names of the bases: ``nn.Module`` and ``Generic[T]`` give ``Module`` and ``Generic``."""
    heads = (base.value if isinstance(base, ast.Subscript) else base for base in node.bases)
    return [h.attr if isinstance(h, ast.Attribute) else h.id for h in heads if isinstance(h, (ast.Attribute, ast.Name))]


def own_classes(texts: dict[str, str]) -> dict[tuple[str, str], ast.ClassDef]:
    """Every class at the top of a module, by module and name, interfaces (Protocol) left out."""
    return {
        (module, node.name): node
        for module, text in texts.items()
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef) and "Protocol" not in base_names(node)
    }


def imported_from(module: str, text: str) -> dict[str, tuple[str, str]]:
    """What each name brought in by ``from … import`` stands for: (module, name)."""
    package = module.split(".")[:-1]
    found = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            found.update({alias.asname or alias.name: (origin, alias.name) for alias in node.names})
    return found


def parents_in(texts: dict[str, str]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """The bases of each of our classes that are ours as well."""
    classes = own_classes(texts)
    imports = {module: imported_from(module, text) for module, text in texts.items()}

    def resolve(module: str, name: str) -> tuple[str, str] | None:
        if (module, name) in classes:
            return module, name
        origin = imports[module].get(name)
        if origin is not None:
            return origin if origin in classes else resolve(*origin) if origin[0] in imports else None
        named_so = [key for key in classes if key[1] == name]  # reached as module.Name
        return named_so[0] if len(named_so) == 1 and name != "Module" else None

    return {
        key: [r for name in base_names(node) if (r := resolve(key[0], name)) is not None and r != key]
        for key, node in classes.items()
    }


def is_implemented(function: Function) -> bool:
    """Whether a method does anything: abstract ones, empty hooks and those marked ``@default`` may be replaced."""
    decorators = {d.attr if isinstance(d, ast.Attribute) else getattr(d, "id", "") for d in function.decorator_list}
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body

    def says_nothing(statement: ast.stmt) -> bool:
        if isinstance(statement, ast.Raise):
            raised = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
            return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"
        ellipsis = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        return isinstance(statement, ast.Pass) or ellipsis

    return not decorators & {"abstractmethod", "default"} and not all(map(says_nothing, body))


def methods(node: ast.ClassDef) -> dict[str, Function]:
    """Methods by name; ``forward`` and the double-underscore ones belong to torch and to Python."""
    own = (n for n in node.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return {n.name: n for n in own if n.name != "forward" and not n.name.startswith("__")}


def inheritance_complaints(texts: dict[str, str]) -> list[str]:
    """Chains of more than two of our classes, and methods that are implemented twice along a chain."""
    classes, parents, found = own_classes(texts), parents_in(texts), []

    def ancestry(key: tuple[str, str]) -> list[list[tuple[str, str]]]:
        above = [chain for parent in parents[key] for chain in ancestry(parent)]
        return [[key, *chain] for chain in above] or [[key]]

    for key, node in classes.items():
        for chain in ancestry(key):
            if len(chain) > MAX_DEPTH:
                found.append(
                    f"{key[0]}: {' < '.join(name for _, name in chain)} is {len(chain)} deep, at most {MAX_DEPTH}"
                )
            for parent in chain[1:]:
                implemented = {n for n, f in methods(classes[parent]).items() if is_implemented(f)}
                found += [
                    f"{key[0]}: {node.name}.{n} overrides {parent[1]}.{n}" for n in methods(node) if n in implemented
                ]
    return sorted(set(found))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# Imports and names ---------------------------------------------------------------------------------------------------


def unpickling_complaints(text: str) -> list[str]:
    """Uses of anything that can unpickle."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [f"{node.value.id}.{node.attr}"]
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            refused = isinstance(node.value, ast.Constant) and node.value.value is False
            names = [] if refused else ["pickle (allow_pickle)"]
        else:
            continue
        bad = [n for n in names if n.split(".")[0].split(" ")[0] in UNPICKLERS or n in {"torch.load", "torch.save"}]
        found += [f"line {getattr(node, 'lineno', 0)} uses {name}" for name in bad]
    return found


def registry_complaints(text: str) -> list[str]:
    """Names of package registries in a text."""
    return [f"names the registry {host}" for host in REGISTRIES if re.search(rf"\b{re.escape(host)}\b", text.lower())]


def complaints_about(files: list[Path], rule: Callable[[str], list[str]]) -> list[str]:
    texts = ((p, p.read_bytes()) for p in files)
    readable = ((p, raw.decode("utf-8", errors="replace")) for p, raw in texts if b"\0" not in raw[:4096])
    return [f"{p.relative_to(ROOT)}: {complaint}" for p, text in readable for complaint in rule(text)]


def test_every_file_and_function_keeps_its_budget() -> None:
    found = complaints_about(sources(), size_complaints)
    assert not found, "\n".join(found)


def test_classes_are_abstract_or_final() -> None:
    texts = {module_name(p): p.read_text(encoding="utf-8") for p in sources("src/equilibria")}
    found = inheritance_complaints(texts)
    assert not found, "\n".join(found)


def test_nothing_is_unpickled() -> None:
    found = complaints_about(sources("src"), unpickling_complaints)
    assert not found, "\n".join(found)


def test_long_files_are_listed() -> None:
    counts = {p.relative_to(ROOT): len(p.read_text(encoding="utf-8").splitlines()) for p in sources("src")}
    for path, lines in counts.items():
        if lines > LONG_FILE_LINES:
            warnings.warn(f"{path} has {lines} lines: does it have one subject?", stacklevel=1)
    assert max(counts.values()) <= MAX_FILE_LINES


def test_no_registry_is_named() -> None:
    found = complaints_about(project_files(), registry_complaints)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = 1\n" * 601, "601 lines"),
        ("def f():\n" + "    x = 1\n" * 50, "f (line 1) has 51 lines"),
        ("class A:\n    def f(self, a, b, c, d, e, h, *args, g=1, **kw): ...\n", "f (line 2) takes 9 parameters"),
    ],
)
def test_a_planted_excess_is_reported(text: str, complaint: str) -> None:
    assert any(complaint in found for found in size_complaints(text))


def test_a_command_may_have_as_many_options_as_it_needs() -> None:
    options = "(a, b, c, d, e, f, g, h, i): ...\n"
    assert size_complaints(f"@app.command()\ndef f{options}") == []
    assert size_complaints(f"@app.callback()\ndef f{options}")


def test_a_docstring_is_no_excess() -> None:
    assert size_complaints('def f():\n    """' + "words\n" * 60 + '    """\n    return 1\n') == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("class A: ...\nclass B(A): ...\nclass C(B): ...\n", "C < B < A is 3 deep"),
        ("class A:\n    def f(self): return 1\nclass B(A):\n    def f(self): return 2\n", "B.f overrides A.f"),
    ],
)
def test_a_planted_inheritance_is_reported(text: str, complaint: str) -> None:
    assert any(complaint in found for found in inheritance_complaints({"equilibria.planted": text}))
    split = text.split("class B")
    across = {"equilibria.a": split[0], "equilibria.b": "from .a import A\nclass B" + split[1]}
    assert any(complaint in found for found in inheritance_complaints(across))


def test_hooks_interfaces_and_torch_methods_may_be_filled_in() -> None:
    text = (
        "class P(Protocol):\n    def f(self): return 1\n"
        "class A(nn.Module, P):\n    def forward(self, x): return x\n    def f(self): ...\n"
        "    def g(self):\n        '''A hook.'''\n    def h(self): raise NotImplementedError\n"
        "    @default\n    def k(self): return 1\n"
        "class B(A):\n    def forward(self, x): return -x\n    def f(self): return 1\n"
        "    def g(self): return 1\n    def h(self): return 1\n    def k(self): return 2\n"
    )
    assert inheritance_complaints({"equilibria.planted": text}) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import dump",
        "import torch\ntorch.load('x')",
        "np.load(p, allow_pickle=True)",
        "from torch import load",
    ],
)
def test_a_planted_unpickling_is_reported(text: str) -> None:
    assert unpickling_complaints(text)


def test_a_planted_registry_is_reported() -> None:
    assert registry_complaints(f"see https://{REGISTRIES[0]}/simple")
