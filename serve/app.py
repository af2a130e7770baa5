"""The Gradio page: which event calls what. It decides nothing and writes no HTML of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Gradio reads these while it is imported: nothing is sent, no statistics of questions are kept.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(10**9)

import gradio as gr
from gradio.events import api

from index.errors import UserError
from retro.types import Answer
from serve import render
from serve.desk import Answering, Desk

Examples = Mapping[str, Sequence[str]]
"""Questions to offer, by the heading they stand under."""

SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
ONE_AT_A_TIME: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
STYLE = Path(__file__).with_name("page.css")
PICK = """element.addEventListener("click", event => {
  const button = event.target.closest("button");
  if (button) trigger("click", {question: button.textContent});
});"""
ON_LOAD = "() => document.getElementById('ra-verdict')?.setAttribute('aria-live', 'polite')"


def build(answerer: Answering, examples: Examples) -> gr.Blocks:
    """The page over one answerer, with its API at ``/ask``."""
    desk = Desk(answerer)
    again = _again(desk)
    page = gr.Blocks(title="Ask the database", analytics_enabled=False)
    with page:
        # First, or Gradio would give the name to the page's own events and rename this one.
        api(_api(desk), api_name="ask", **ONE_AT_A_TIME)
        _html("header", render.header(answerer.retriever.manifest, str(answerer.retriever.where)))
        box, button = _question()
        chips = _html("examples", render.examples(examples), js_on_load=PICK)
        verdict, slider = _html("verdict", js_on_load=PICK), _slider(desk.percent)
        passages, details, answer = _html("passages"), _html("details"), gr.State(None)
        triggers: list[Any] = [box.submit, button.click]
        for html in (chips, verdict):
            picked = html.click(_picked, None, box, queue=False, api_visibility="private")
            triggers.append(picked.then)
        for trigger in triggers:
            outputs = [answer, verdict, passages, details]
            trigger(desk.ask, [box, slider], outputs, **QUIET, **ONE_AT_A_TIME)
        # The slider may have moved while the model was reading. One event for both, never twice at
        # once, or the decision for an earlier place of the slider could come last.
        gr.on(
            [slider.change, answer.change],
            again,
            [answer, slider],
            [verdict, passages],
            **QUIET,
            queue=False,
            trigger_mode="always_last",
        )
    return page


def start(
    page: gr.Blocks, *, host: str, port: int, share: bool = False, open_browser: bool = False
) -> str:
    """Serve the page from threads of this process; its address. Raises UserError if it cannot."""
    try:
        _, local, public = page.launch(
            server_name=host,
            server_port=port,
            share=share,
            inbrowser=open_browser,
            prevent_thread_lock=True,
            quiet=True,
            ssr_mode=False,
            enable_monitoring=False,
            theme=_theme(),
            css_paths=STYLE,
            js=ON_LOAD,
            footer_links=["api"],
        )
    except OSError as error:
        raise UserError(f"cannot serve on {host} port {port}: try another --port") from error
    return public or local


def run(page: gr.Blocks, *, host: str, port: int, share: bool, open_browser: bool) -> None:
    """Serve the page until Ctrl+C."""
    address = start(page, host=host, port=port, share=share, open_browser=open_browser)
    try:
        print(f"Ask at {address}  (Ctrl+C stops it)", flush=True)
        page.block_thread()
    except KeyboardInterrupt:
        pass
    finally:
        page.close(verbose=False)


def _html(name: str, html: str = "", js_on_load: str | None = None) -> gr.HTML:
    return gr.HTML(
        html,
        elem_id=f"ra-{name}",
        elem_classes="ra",
        apply_default_css=False,
        js_on_load=js_on_load,
    )


def _picked(event: gr.EventData) -> str:
    """The question on the button that was clicked: an example, or another spelling."""
    return str(event.question)


def _question() -> tuple[gr.Textbox, gr.Button]:
    with gr.Row(elem_id="ra-ask"):
        box = gr.Textbox(
            label="Your question",
            placeholder="Type your question",
            max_lines=3,
            max_length=500,
            autofocus=True,
            scale=1,
            elem_id="ra-question",
        )
        button = gr.Button("Ask", variant="primary", scale=0, min_width=96, elem_id="ra-button")
    return box, button


def _slider(percent: int) -> gr.Slider:
    return gr.Slider(
        0,
        100,
        value=percent,
        step=1,
        label="How sure I must be to answer (%)",
        info="Move it to decide about the same answer again: no model runs.",
        elem_id="ra-slider",
    )


def _again(desk: Desk) -> Callable[[Answer | None, float], Any]:
    def again(answer: Answer | None, percent: float) -> Any:
        return desk.decide(answer, percent) if answer else gr.skip()

    return again


def _api(desk: Desk) -> Callable[[str], dict[str, Any]]:
    def ask(question: str) -> dict[str, Any]:
        """One answer with its confidence, evidence and signals; `answer` is null if it abstains."""
        try:
            return desk.ask_json(question)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return ask


def _theme() -> gr.themes.Base:
    """Fonts of the reader's own system, so that none is fetched; page.css has the colours."""
    fonts, mono = ([gr.themes.Font(name) for name in names] for names in (SANS, MONO))
    return gr.themes.Base(primary_hue="teal", neutral_hue="slate", font=fonts, font_mono=mono)
