"""The shape of the tree: imports point downwards, the core needs torch alone, importing is quick, names and sizes keep to the guide."""

from __future__ import annotations

import ast
import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "dipole"

# Who may import whom: a folder may import folders of strictly lower layers, and itself. Modules at the top (dipole/x.py) count by name.
LAYERS: dict[str, int] = {
    "core": 0,
    "pairwise": 1,
    **dict.fromkeys(["views", "encoders", "negatives", "losses", "regularizers", "balance", "align", "diagnostics", "rows"], 2),
    "modality": 3,
    **dict.fromkeys(["audit", "train", "evaluate", "compare", "search", "decode"], 4),
    "assembly": 5,
    "recipes": 5,
    **dict.fromkeys(["demo", "digest", "report"], 6),
    "serve": 7,
    "cli": 8,
    "__main__": 9,
}
# Activities take parts, pairwise and core; what they need of a modality comes in as an argument.
NOT_EVEN_BELOW = {(activity, "modality") for activity in ("audit", "train", "evaluate", "compare", "search", "decode")}
EXEMPT_IMPORTS: set[tuple[str, str]] = set()  # (file, imported module): named, and only shrinking
EXEMPT_LONG: dict[str, int] = {}  # file: lines it may have; named, and only shrinking
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "misc"}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Every dipole module that is imported anywhere in a file, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer; write the full name"
            yield from ([f"dipole.{alias.name}" for alias in node.names] if node.module == "dipole" else [node.module or ""])


def offences(file: str, tree: ast.AST) -> list[str]:
    """Imports of the file (its path under src/dipole) that do not point downwards."""
    home = Path(file).parts[0].removesuffix(".py")
    found = []
    for name in imported(tree):
        parts = name.split(".")
        if parts[0] != "dipole" or len(parts) < 2 or parts[1] not in LAYERS or parts[1] == home:
            continue
        downwards = LAYERS[parts[1]] < LAYERS[home] and (home, parts[1]) not in NOT_EVEN_BELOW
        if not downwards and (file, name) not in EXEMPT_IMPORTS:
            found.append(f"{file} imports {name}")
    return found


def test_imports_point_downwards() -> None:
    files = [path for path in modules() if path != SOURCE / "__init__.py"]
    assert len(files) > 40
    found = [text for path in files for text in offences(str(path.relative_to(SOURCE)), ast.parse(path.read_text(encoding="utf-8")))]
    assert not found, "\n".join(found)


def test_every_folder_has_a_layer() -> None:
    folders = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in modules()} - {"__init__"}
    assert folders <= set(LAYERS), f"give {folders - set(LAYERS)} a layer"


@pytest.mark.parametrize(
    ("file", "line", "wrong"),
    [
        ("core/x.py", "from dipole.pairwise import tile", True),
        ("pairwise/x.py", "from dipole.core.pairs import Pairs", False),
        ("losses/x.py", "import dipole.views.aligned", True),
        ("losses/a/x.py", "from dipole.losses.b import y", False),
        ("search/x.py", "def f():\n    from dipole.modality.text import load", True),
        ("train/x.py", "from dipole import cli", True),
        ("cli/x.py", "from dipole.train.run import train", False),
    ],
)
def test_the_check_itself(file: str, line: str, wrong: bool) -> None:
    assert bool(offences(file, ast.parse(line))) == wrong


TORCH_ALONE = """
import importlib, pkgutil, sys
sys.path[:0] = [{source!r}, {packages!r}]
import torch
for absent in ("rich", "typer", "numpy", "sentence_transformers", "lancedb", "scipy"):
    assert importlib.util.find_spec(absent) is None, absent
count = 0
for top in ("core", "pairwise", "losses"):
    package = importlib.import_module("dipole." + top)
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(info.name)
        count += 1
from dipole import Pairs
from dipole.losses import InfoNCE
q = torch.eye(3, requires_grad=True)
InfoNCE(temperature=0.5)(Pairs.aligned(q, torch.eye(3))).mean().backward()
assert q.grad is not None
print(count)
"""


def needed_by(name: str, seen: dict[str, metadata.Distribution]) -> dict[str, metadata.Distribution]:
    """The distribution and all that it requires, as installed here."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in seen:
        return seen
    with contextlib.suppress(metadata.PackageNotFoundError):
        seen[key] = metadata.distribution(name)
        for line in seen[key].requires or []:
            match = re.match(r"[A-Za-z0-9._-]+", line)
            if "extra ==" not in line and match:
                needed_by(match[0], seen)
    return seen


def test_core_pairwise_and_losses_need_torch_alone(tmp_path: Path) -> None:
    """In an environment of links to torch and what torch requires; nothing else can be found there, numpy included."""
    for distribution in needed_by("torch", {}).values():
        for top in {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            if not (tmp_path / top).exists():
                (tmp_path / top).symlink_to(str(distribution.locate_file(top)))
    code = TORCH_ALONE.format(source=str(SOURCE.parent), packages=str(tmp_path))
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 30


def test_import_dipole_adds_little_to_import_torch() -> None:
    code = "import torch, time; t = time.perf_counter(); import dipole; dipole.Pairs; print(time.perf_counter() - t)"
    times = []
    for _ in range(5):
        times.append(float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout))
        if times[-1] < 0.3:
            break
    assert min(times) < 0.3, times


def test_no_module_is_too_long() -> None:
    lengths = {str(path.relative_to(SOURCE)): len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}
    long = {name: lines for name, lines in lengths.items() if lines > EXEMPT_LONG.get(name, 300)}
    assert not long, f"split these: {long}"
    stale = {name for name in EXEMPT_LONG if lengths.get(name, 0) <= 300}
    assert not stale, f"take these off the list: {stale}"


def test_no_drawer_for_everything() -> None:
    assert not [path for path in modules() if path.stem in FORBIDDEN_NAMES or path.parent.name in FORBIDDEN_NAMES]


def test_no_path_of_a_machine() -> None:
    """Nothing in the tree says where somebody's machine keeps things."""
    pattern = re.compile(r"""(?<![\w.~$-])/(?:home|Users|root|work|mnt|opt|tmp)/[\w.-]+""")
    kinds = {".py", ".md", ".toml", ".txt", ".yml", ".cfg", ".json", ""}
    skip = {".venv", ".git", "_build", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", "dipole-demo", "runs"}
    found = []
    for path in sorted(ROOT.rglob("*")):
        if path.suffix in kinds and path.is_file() and not skip & set(path.relative_to(ROOT).parts) and path.name != "test_layers.py":
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in pattern.finditer(text)]
    assert not found, "\n".join(found)
