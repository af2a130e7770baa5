"""FAISS on a GPU where ``faiss-gpu`` finds one; knows FAISS indexes, no files and no chunks.

What a GPU cannot hold, or searches otherwise, stays on the CPU, and a line says why.
``CUDA_VISIBLE_DEVICES=`` (empty) hides the GPUs.
"""

from __future__ import annotations

import logging
from typing import Any

_LOG = logging.getLogger(__name__)


def num_gpus() -> int:
    """GPUs that FAISS can use. (``faiss-gpu`` without one copies to an empty shell in silence.)"""
    import faiss

    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


def to_gpu(faiss_index: Any) -> Any:
    """A copy on the first GPU, with its number of probes; the index itself where there is none or
    it cannot be there: FAISS knows flat and inverted lists on GPUs, of 2,048 probes at most."""
    import faiss

    if not num_gpus():
        return faiss_index
    options: Any = faiss.GpuMultipleClonerOptions()
    options.allowCpuCoarseQuantizer = True  # the graph over very many lists
    try:
        return faiss.index_cpu_to_all_gpus(faiss_index, co=options, ngpu=1)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        _LOG.warning("FAISS stays on the CPU: its GPU part cannot take this index (%s)", reason)
        return faiss_index


def from_gpu(faiss_index: Any) -> Any:
    """The index back on the CPU, where it can be written."""
    import faiss

    return faiss.index_gpu_to_cpu(faiss_index)
