"""What every test shares: no network, no telemetry, no window, and one kind of model on the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

os.environ.update(
    GRADIO_ANALYTICS_ENABLED="False",
    HF_HUB_OFFLINE="1",
    MPLBACKEND="Agg",
    TOKENIZERS_PARALLELISM="false",
)

# A machine that is busy is no failure: speed is never asserted.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

REAL = "test_end_to_end"
"""Where real models are asked: they compute as on their user's machine."""


@pytest.fixture(autouse=True, scope="module")
def one_number_format(request: pytest.FixtureRequest) -> Iterator[None]:
    """Random stand-ins decide by a hair: in float32 they decide alike on every processor. They
    are small, and other tests run beside them: one thread is faster than two."""
    if request.module.__name__ == REAL:
        yield
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", dict)
        yield
    torch.set_num_threads(threads)
