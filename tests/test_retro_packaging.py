"""The wheel and the repository: what is shipped is what is imported, and nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGES = {"index", "retro", "serve", "eval"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built offline by the backend that is installed."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return zipfile.ZipFile(next(out.glob("*.whl")))


def test_the_wheel_has_exactly_the_four_packages(wheel: zipfile.ZipFile) -> None:
    roots = {name.partition("/")[0] for name in wheel.namelist()}
    assert {root for root in roots if not root.endswith(".dist-info")} == PACKAGES


def test_the_wheel_holds_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    """The checkpoint (safetensors, JSON) and ``py.typed`` must be in it, not only ``*.py``."""
    files = {
        file.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert "retro/py.typed" in files
    assert files <= set(wheel.namelist())


def test_the_wheel_carries_its_licence_and_command(wheel: zipfile.ZipFile) -> None:
    names = {name.partition("/")[2] for name in wheel.namelist() if ".dist-info/" in name}
    assert {"licenses/LICENSE", "entry_points.txt"} <= names


def test_tests_are_flat() -> None:
    """An inner ``tests/eval/`` with an ``__init__.py`` once hid the real package ``eval``."""
    inner = [path for path in (ROOT / "tests").rglob("*.py") if path.parent != ROOT / "tests"]
    assert inner == []
    assert not (ROOT / "tests" / "__init__.py").exists()


def _requirements(lines: list[str]) -> dict[str, Requirement]:
    parsed = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


def _declared(*, dev: bool) -> dict[str, Requirement]:
    extras = PROJECT["optional-dependencies"]
    chosen = [lines for name, lines in extras.items() if dev or name != "dev"]
    return _requirements([*PROJECT["dependencies"], *chain.from_iterable(chosen)])


def _imported_roots() -> set[str]:
    """Top-level names of every import in the packages, those inside functions too."""
    found: set[str] = set()
    for file in (file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - PACKAGES - set(sys.stdlib_module_names)


def test_every_import_is_declared() -> None:
    declared = set(_declared(dev=False))
    providers = metadata.packages_distributions()
    undeclared = {
        name
        for name in _imported_roots()
        if not declared & {canonicalize_name(given) for given in providers.get(name, [name])}
    }
    assert undeclared == set()


def test_every_requirement_has_a_tested_version_inside_its_range() -> None:
    """All but the GPU build of FAISS, which cannot be installed beside the CPU build."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = _requirements(lines)
    assert next(iter(pins)) == "torch"
    declared = _declared(dev=True)
    assert set(declared) - set(pins) == {"faiss-gpu"}
    for name in set(declared) & set(pins):
        version = next(iter(pins[name].specifier)).version
        assert version in declared[name].specifier, name
