"""The page in a real browser: Debian's Chromium, driven by Playwright. No Chromium: these fail,
unless RETRO_NO_BROWSER=1 says that this machine has none."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from serve_fakes import ANSWERABLE, BUG, HOSTILE, NEAR_MISS, SLIPPED, FakeAnswerer

from index.errors import UserError
from serve import render

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from retro.types import Answer

# gradio leaves event loops and the socket it tries a port with to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

EXAMPLES = {"In the database": [ANSWERABLE], "Far outside": [HOSTILE]}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NO_CHROMIUM = (
    "no Chromium found: apt-get install -y chromium, or set RETRO_NO_BROWSER=1 to go without"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module", autouse=True)
def collected() -> Iterator[None]:
    """What gradio left open is collected here, under this module's filter."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def answerer() -> FakeAnswerer:
    return FakeAnswerer()


@pytest.fixture(scope="module")
def address(answerer: FakeAnswerer) -> Iterator[str]:
    from serve.app import build, start

    page = build(answerer, EXAMPLES)
    port = free_port()
    yield start(page, host="127.0.0.1", port=port)
    page.close(verbose=False)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if os.environ.get("RETRO_NO_BROWSER") == "1":
        pytest.skip("RETRO_NO_BROWSER=1")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.fail(NO_CHROMIUM)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, timeout=120_000)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    """The opened page; it must fetch nothing from elsewhere and log no error."""
    context = chromium.new_context(viewport={"width": 390, "height": 844})
    tab = context.new_page()
    tab.set_default_timeout(60_000)
    requests: list[str] = []
    errors: list[str] = []
    tab.on("request", lambda request: requests.append(request.url))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    tab.goto(address)
    tab.get_by_label("Your question").wait_for()
    yield tab
    context.close()
    assert requests
    local = (address, address.replace("http", "ws", 1), "data:", "blob:")
    assert [url for url in requests if not url.startswith(local)] == []
    assert errors == []


def ask(page: Page, question: str) -> None:
    page.get_by_label("Your question").fill(question)
    page.get_by_label("Your question").press("Enter")


def text_of(page: Page, selector: str) -> str:
    return page.locator(selector).inner_text()


def move_slider(page: Page, percent: int) -> None:
    number = page.get_by_role("spinbutton")
    number.fill(str(percent))
    number.press("Enter")


def test_an_answer_shows_with_its_span_highlighted(page: Page) -> None:
    assert "128 documents, 2,431 chunks, built 23 November 2026" in text_of(page, "#ra-header")
    assert not page.locator("#ra-slider").is_visible()
    ask(page, ANSWERABLE)
    page.locator(".ra-answered").wait_for()
    assert text_of(page, ".ra-answer") == "Jupiter"
    assert text_of(page, "mark") == "Jupiter"
    assert "Ganymede" in text_of(page, ".ra-source h3")
    assert page.locator("#ra-verdict").get_attribute("aria-live") == "polite"


def test_a_question_that_the_database_cannot_answer_is_declined(page: Page) -> None:
    page.get_by_label("Your question").fill(NEAR_MISS)
    page.get_by_role("button", name="Ask", exact=True).click()
    page.locator(".ra-declined").wait_for()
    assert "I can’t find this in the database." in text_of(page, "#ra-verdict")
    assert "Nearest passages" in text_of(page, "#ra-passages")
    assert page.locator("mark").count() == 0
    assert not page.locator(".ra-guess").is_visible()
    page.get_by_text("Show the guess I withheld").click()
    assert "Not an answer" in text_of(page, ".ra-guess")


def test_the_slider_changes_the_decision_without_the_model(
    page: Page, answerer: FakeAnswerer
) -> None:
    ask(page, NEAR_MISS)
    page.locator(".ra-declined").wait_for()
    runs = len(answerer.asked)
    move_slider(page, 10)
    page.locator(".ra-answered").wait_for()
    assert "I answer from 10 %" in text_of(page, "#ra-verdict")
    assert page.locator("mark").count() == 1
    move_slider(page, 60)
    page.locator(".ra-declined").wait_for()
    assert len(answerer.asked) == runs


def test_a_slow_decision_for_an_earlier_place_of_the_slider_never_comes_last(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = render.verdict

    def verdict(answer: Answer, threshold: float) -> str:
        time.sleep(0 if threshold == 0.1 else 0.5)
        return quick(answer, threshold)

    monkeypatch.setattr(render, "verdict", verdict)
    ask(page, NEAR_MISS)
    page.locator(".ra-declined").wait_for()
    move_slider(page, 10)
    page.locator(".ra-answered").wait_for()
    page.wait_for_timeout(1_500)
    assert "I answer from 10 %" in text_of(page, "#ra-verdict")


def test_the_slider_moves_by_keyboard(page: Page) -> None:
    ask(page, ANSWERABLE)
    page.locator(".ra-answered").wait_for()
    page.get_by_role("slider").press("End")
    page.locator(".ra-declined").wait_for()
    assert "I answer from 100 %" in text_of(page, "#ra-verdict")


def test_an_empty_question_is_asked_for(page: Page, answerer: FakeAnswerer) -> None:
    runs = len(answerer.asked)
    ask(page, "   ")
    page.get_by_role("alert").wait_for()
    assert "Type a question first" in text_of(page, "#ra-verdict")
    assert len(answerer.asked) == runs


def test_the_page_survives_a_bug_and_answers_the_next_question(page: Page) -> None:
    ask(page, BUG)
    page.get_by_role("alert").wait_for()
    assert "ValueError: shapes [2, 3] and [4] differ" in text_of(page, "#ra-verdict")
    assert page.locator(".ra-passage").count() == 0
    ask(page, ANSWERABLE)
    page.locator(".ra-answered").wait_for()


def test_an_example_asks_itself_and_html_stays_text(page: Page, answerer: FakeAnswerer) -> None:
    page.get_by_role("button", name=HOSTILE).click()
    page.locator(".ra-declined").wait_for()
    assert answerer.asked[-1] == HOSTILE
    assert page.get_by_label("Your question").input_value() == HOSTILE
    page.get_by_text("3 more passages").click()
    assert HOSTILE in page.locator(".ra-passage h3").nth(3).inner_text()
    assert page.title() == "Ask the database"


def test_another_spelling_asks_itself(page: Page, answerer: FakeAnswerer) -> None:
    ask(page, SLIPPED)
    page.locator(".ra-declined").get_by_role("button", name=ANSWERABLE).click()
    page.locator(".ra-answered").wait_for()
    assert answerer.asked[-2:] == [SLIPPED, ANSWERABLE]
    assert page.get_by_label("Your question").input_value() == ANSWERABLE
    assert page.locator(".ra-wording").count() == 0


def test_nothing_is_wider_than_a_phone(page: Page) -> None:
    ask(page, ANSWERABLE)
    page.locator(".ra-answered").wait_for()
    for fold in page.locator("summary").all():
        fold.click()
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_the_api_answers_in_the_contracts_json(address: str) -> None:
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    client = Client(address, verbose=False, analytics_enabled=False)
    try:
        answer: dict[str, Any] = client.predict(question=ANSWERABLE, api_name="/ask")
        assert answer["answer"] == "Jupiter"
        assert answer["evidence"][0]["doc_id"] == "solar-system/ganymede.md"
        assert answer["reason"] is None
        with pytest.raises(AppError, match="question is empty"):
            client.predict(question=" ", api_name="/ask")
    finally:
        client.close()


def test_a_port_in_use_is_the_users_mistake(answerer: FakeAnswerer) -> None:
    from serve.app import build, start

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        with pytest.raises(UserError, match=f"port {port}: try another --port"):
            start(build(answerer, {}), host="127.0.0.1", port=port)


def test_control_c_stops_the_page() -> None:
    """The signal is set back first: what a shell started in the background ignores it."""
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from serve.app import build, run; from serve_fakes import FakeAnswerer; "
        "run(build(FakeAnswerer(), {}), host='127.0.0.1', port=int(sys.argv[1]), share=False,"
        " open_browser=False)"
    )
    tests = Path(__file__).parent
    with subprocess.Popen(
        [sys.executable, "-c", code, str(free_port())],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{tests.parent}{os.pathsep}{tests}"},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Ask at http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
