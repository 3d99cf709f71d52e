"""The page in Chromium, used as a person would. Skipped where there is none, unless INSID3_REQUIRE_BROWSER is set."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from insid3.app.cheetahs import cheetah_pictures
from insid3.imaging.masks import read_mask
from insid3.imaging.read import picture_size
from stubs import free_port

expect.set_options(timeout=20_000)  # machines are busy
SHOTS = os.environ.get("INSID3_SCREENSHOTS")  # a folder to look at them in


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        if os.environ.get("INSID3_REQUIRE_BROWSER"):
            pytest.fail("no chromium: install it")
        pytest.skip("no chromium to drive (set INSID3_REQUIRE_BROWSER to insist)")
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """`insid3 app` with the embedded backbone."""
    folder = tmp_path_factory.mktemp("photos")
    for path in cheetah_pictures()[1:3]:
        shutil.copy(path, folder)
    url = f"http://127.0.0.1:{(port := free_port())}/"
    command = [sys.executable, "-m", "insid3", "app", "--port", str(port), "--folder", str(folder)]
    # Not started above the environment that it is installed in, whose files gradio would show.
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert f"ready at {url}" in line, line
        yield SimpleNamespace(url=url, folder=folder)
        process.send_signal(2)
        assert process.wait(20) == 0
        assert "Traceback" not in process.stderr.read()


@pytest.fixture
def page(browser: Browser, server: SimpleNamespace) -> Iterator[Page]:
    """The page, opened; nothing may come from elsewhere, and no script may fail."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, accept_downloads=True)
    opened, wrong = context.new_page(), list[str]()
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda request: wrong.append(request.url) if foreign(request.url, server.url) else None)
    opened.set_default_timeout(20_000)
    opened.goto(server.url)
    expect(opened.get_by_role("button", name="Load the cheetahs")).to_be_visible()
    yield opened
    context.close()
    assert not wrong


def foreign(url: str, own: str) -> bool:
    return not url.startswith((own, "data:", "blob:", own.replace("http", "ws")))


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True)


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def says(page: Page, text: str) -> None:
    expect(page.locator("#status")).to_contain_text(text)


def share(page: Page) -> str:
    """How much of the reference is marked, in per cent."""
    return str(re.findall(r"[\d.]+%", page.locator("#status").inner_text())[0])


def cheetahs(page: Page) -> None:
    press(page, "Load the cheetahs")
    says(page, "of the reference is marked")
    expect(page.get_by_text("tower.jpg").first).to_be_attached()
    says(page, "4 pictures to mark")


def upload(page: Page, label: str, *files: Path | str) -> None:
    area = page.locator(f"[data-testid='block-label']:has-text('{label}')").locator("xpath=ancestor::*[.//input][1]")
    area.locator("input[type=file]").set_input_files([str(file) for file in files])


def pack(page: Page) -> None:
    press(page, "Pack the download")
    page.wait_for_function("document.querySelector('#status').innerText.includes('Packing')")
    says(page, "Packed.")


def overlays(page: Page) -> list[str]:
    return [str(image.get_attribute("src")) for image in page.locator("#results img").all()]


def captions(page: Page) -> str:
    return page.locator("#results").inner_text()


def set_number(page: Page, label: str, value: float) -> None:
    box = page.get_by_role("spinbutton", name=re.compile(re.escape(label)))
    box.fill(str(value))
    box.press("Enter")


def test_first_paint(server: SimpleNamespace, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    start = time.monotonic()
    page.goto(server.url)
    expect(page.get_by_role("button", name="Load the cheetahs")).to_be_visible()
    expect(page.locator("#results img").first).to_be_visible()
    assert time.monotonic() - start < 3
    expect(page.get_by_text("it is not the paper's")).to_be_visible()
    context.close()


def test_the_example_and_the_threshold(page: Page) -> None:
    cheetahs(page)
    press(page, "Mark them")
    says(page, "4 of 4 pictures looked at")
    expect(page.locator("#results img")).to_have_count(4)
    before = overlays(page)
    assert "cheetah · score 0.76" in captions(page)
    shot(page, "marked")
    set_number(page, "Threshold", 0.5)
    expect(page.locator("#results img").first).not_to_have_attribute("src", before[0])
    assert not set(before) & set(overlays(page))
    set_number(page, "Least score", 0.8)
    says(page, "tower: empty, the score 0.71 is below the least that counts, 0.8")
    expect(page.locator("#results")).to_contain_text("tower · nothing marked")
    tab(page, "In code")
    expect(page.get_by_text("--threshold")).to_be_visible()
    tab(page, "Look inside")
    expect(page.get_by_text("patches are candidates")).to_be_visible()
    expect(page.locator(".bar.kept").first).to_be_visible()
    shot(page, "inside")
    set_number(page, "Threshold", 0.95)
    expect(page.get_by_text("The mask is empty: no cluster scores above the threshold 0.95")).to_be_visible()
    expect(page.locator(".bar.kept")).to_have_count(0)


def test_paint_mark_download(page: Page, tmp_path: Path) -> None:
    reference, first, second, _, _ = cheetah_pictures()
    upload(page, "Reference picture", reference)
    says(page, "Nothing is marked in the reference yet")
    canvas = page.locator("canvas").first
    expect(canvas).to_be_visible()
    page.wait_for_timeout(500)  # the picture is laid out
    box = canvas.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def stroke(steps: int) -> None:
        page.mouse.move(x - 60, y - 40)
        page.mouse.down()
        for step in range(steps):
            page.mouse.move(x - 60 + 3 * step, y - 40 + 60 * np.sin(step / 3))
        page.mouse.up()

    stroke(50)
    says(page, "% of the reference is marked")
    painted = share(page)
    press(page, "Erase")
    stroke(10)
    expect(page.locator("#status")).not_to_contain_text(painted)
    assert 0 < float(share(page)[:-1]) < float(painted[:-1])
    shot(page, "painted")
    page.get_by_label("Name of the concept").fill("big cat")
    upload(page, "Targets", first, second)
    says(page, "2 pictures to mark")
    press(page, "Mark them")
    says(page, "2 of 2 pictures looked at")
    pack(page)
    with page.expect_download() as download:
        page.locator("#download").click()
    download.value.save_as(tmp_path / "insid3.zip")
    out = tmp_path / "out"
    with zipfile.ZipFile(tmp_path / "insid3.zip") as archive:
        archive.extractall(out)
    rows = json.loads((out / "results.json").read_text())
    assert [row["target"] for row in rows] == ["cheetah.jpg", "cheetah2.jpg"]
    coco = json.loads((out / "coco/instances.json").read_text())
    assert [category["name"] for category in coco["categories"]] == ["big cat"]
    # The command line continues where the page stopped, with the same masks; so do the lines of Python.
    _, command, python = (out / "README.txt").read_text().split("\n\n", 2)
    assert command == "insid3 segment --concept big_cat.insid3 photos/ -o out/"
    (out / "photos").mkdir()
    for path in (first, second):
        shutil.copy(path, out / "photos")
    words = [sys.executable, "-m", *command.split(), "--quiet"]
    subprocess.run(words, cwd=out, check=True, timeout=120)
    for path in (first, second):
        size = picture_size(path)
        page_mask, same = (read_mask(out / where / f"{path.stem}.png", size) for where in ("masks", "out"))
        assert np.array_equal(page_mask, same)
        assert page_mask.any()
    shutil.copy(second, out / "photo.jpg")
    python += "import numpy; numpy.save('mask.npy', mask)"
    subprocess.run([sys.executable, "-c", python], cwd=out, check=True, timeout=120)
    assert np.array_equal(np.load(out / "mask.npy"), page_mask)


def test_click_regions(page: Page) -> None:
    upload(page, "Reference picture", cheetah_pictures()[0])
    says(page, "Nothing is marked")
    tab(page, "Click regions")
    picture = page.locator("#regions img")
    expect(picture).to_be_visible()
    picture.click(position={"x": 150, "y": 150})
    points = page.get_by_label("Points, +x,y to add and -x,y to take away")
    expect(points).to_have_value(re.compile(r"^\+\d+,\d+$"))
    says(page, "% of the reference is marked")
    one = share(page)
    picture.click(position={"x": 10, "y": 10})
    expect(page.locator("#status")).not_to_contain_text(one)
    page.get_by_label("takes away").check()
    picture.click(position={"x": 10, "y": 10})
    says(page, one)
    shot(page, "regions")
    set_number(page, "Fineness", 0.9)
    expect(page.locator("#status")).not_to_contain_text(one)  # finer: less under the same click
    points.fill("nonsense")
    points.press("Enter")
    expect(page.get_by_text("points must look like")).to_be_visible()
    press(page, "Clear the points")
    says(page, "Nothing is marked")


def test_match_two_points(page: Page) -> None:
    cheetahs(page)
    tab(page, "Match points")
    picture = page.locator("#left img")
    expect(picture).to_be_visible()
    picture.click(position={"x": 100, "y": 120})
    points = page.get_by_label("Points in the reference, x,y in pixels")
    expect(points).to_have_value(re.compile(r"^\d+,\d+$"))
    picture.click(position={"x": 160, "y": 120})
    expect(points).to_have_value(re.compile(r"^\d+,\d+ \d+,\d+$"))
    expect(page.locator(".places tr")).to_have_count(3)  # a head and two points
    picture.evaluate("""img => {  // a click while the picture's successor is still loading
        const box = img.getBoundingClientRect();
        img.src += "?again";
        img.dispatchEvent(new MouseEvent("click", {clientX: box.x + 130, clientY: box.y + 90, bubbles: true}));
    }""")
    expect(page.locator(".places tr")).to_have_count(4)
    for view in ("#raw", "#debiased"):
        expect(page.locator(f"{view} img")).to_be_visible()
    shot(page, "match")
    points.fill("9999,1")
    points.press("Enter")
    expect(page.get_by_text("lies outside the reference picture")).to_be_visible()


def test_a_broken_upload_is_told_of(page: Page, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(cheetah_pictures()[1].read_bytes()[:2000])
    upload(page, "Reference picture", broken)
    expect(page.get_by_text("broken.jpg is damaged or cut short")).to_be_visible()
    shot(page, "broken")
    press(page, "Mark them")
    expect(page.get_by_text("there is no example yet")).to_be_visible()
    cheetahs(page)
    press(page, "Mark them")
    says(page, "4 of 4")


def test_a_broken_target_does_not_stop_the_others(page: Page, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("no picture at all")
    upload(page, "Targets", cheetah_pictures()[1], broken, cheetah_pictures()[2])
    says(page, "3 pictures to mark")
    press(page, "Load the cheetahs")  # brings its own targets
    says(page, "4 pictures to mark")
    page.reload()
    upload(page, "Reference picture", cheetah_pictures()[0])
    says(page, "Nothing is marked")
    tab(page, "Click regions")
    page.get_by_label("Points, +x,y").fill("128,128")
    page.get_by_label("Points, +x,y").press("Enter")
    says(page, "% of the reference is marked")
    upload(page, "Targets", cheetah_pictures()[1], broken, cheetah_pictures()[2])
    says(page, "3 pictures to mark")
    press(page, "Mark them")
    says(page, "broken.jpg is not a picture of a supported format")
    expect(page.locator("#results img")).to_have_count(3)
    expect(page.locator("#results")).to_contain_text("broken · cannot be used")


def test_concepts_are_kept_saved_and_loaded(page: Page, tmp_path: Path) -> None:
    cheetahs(page)
    press(page, "Keep this example and begin another")
    says(page, "Kept: cheetah (1)")
    tab(page, "Concepts")
    expect(page.get_by_text("cheetah: cheetah1.jpg")).to_be_visible()
    press(page, "Save all concepts, the one being marked too")
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("KB|MB")).last.click()
    assert download.value.suggested_filename == "cheetah.insid3"
    download.value.save_as(tmp_path / "cheetah.insid3")
    shot(page, "concepts")
    press(page, "Forget it")
    expect(page.get_by_text("cheetah: cheetah1.jpg")).to_have_count(0)
    upload(page, "Load a concept", tmp_path / "cheetah.insid3")
    expect(page.get_by_text("cheetah: cheetah1.jpg")).to_be_visible()
    tab(page, "Segment")
    press(page, "Mark them")
    says(page, "4 of 4")


def test_cancel_and_the_servers_folder(page: Page, server: SimpleNamespace) -> None:
    cheetahs(page)
    page.get_by_label(f"All pictures in {server.folder}").check()
    says(page, "6 pictures to mark")
    press(page, "Mark them")
    says(page, "1 of 6")
    press(page, "Cancel")
    says(page, "Cancelled")
    page.wait_for_timeout(3000)
    says(page, "Cancelled")
    assert len(overlays(page)) < 6
    press(page, "Mark them")
    expect(page.locator("#status")).to_contain_text(re.compile("[1-5] of 6"))
    set_number(page, "Threshold", 0.5)  # in mid-run: all of them anew
    says(page, "6 of 6")
    expect(page.locator("#results img")).to_have_count(6)
    before = overlays(page)
    page.wait_for_timeout(3000)
    assert overlays(page) == before  # the first run is over
    tab(page, "In code")
    expect(page.get_by_text("--threshold")).to_be_visible()


def test_two_pages_do_not_see_each_other(page: Page, browser: Browser, server: SimpleNamespace) -> None:
    cheetahs(page)
    context = browser.new_context()
    other = context.new_page()
    other.goto(server.url)
    press(other, "Mark them")
    expect(other.get_by_text("there is no example yet")).to_be_visible()
    tab(other, "Match points")
    other.get_by_label("Reference", exact=True).click()
    expect(other.get_by_role("option")).to_have_count(0)
    context.close()


def test_two_concepts_in_colours(page: Page, tmp_path: Path) -> None:
    cheetahs(page)
    press(page, "Keep this example and begin another")
    says(page, "Kept: cheetah (1)")
    upload(page, "Reference picture", cheetah_pictures()[4])
    says(page, "Nothing is marked")
    tab(page, "Click regions")
    page.get_by_label("Points, +x,y").fill("+170,250")
    page.get_by_label("Points, +x,y").press("Enter")
    says(page, "% of the reference is marked")
    swatch, before = page.get_by_role("button", name="Colour"), page.locator("#regions img").get_attribute("src")
    page.get_by_label("Name of the concept").fill("tower")
    expect(page.locator("#regions img")).not_to_have_attribute("src", str(before))  # in a colour of its own
    shot(page, "tower")
    press(page, "Mark them")
    says(page, "4 of 4")
    expect(page.locator("#results")).to_contain_text(re.compile(r"tower · .*tower 0\.\d\d"))
    shot(page, "two")
    swatch.click()
    shot(page, "colour")
    page.get_by_label("yolo").check()
    for _ in range(3):  # new downloads leave the results where they are
        pack(page)
    for overlay in overlays(page):
        assert page.request.get(overlay).ok
    with page.expect_download() as download:
        page.locator("#download").click()
    download.value.save_as(tmp_path / "insid3.zip")
    with zipfile.ZipFile(tmp_path / "insid3.zip") as archive:
        names = set(archive.namelist())
        labels = json.loads(archive.read("masks/concepts.json"))["concepts"]
    assert {"cheetah.insid3", "tower.insid3", "coco/instances.json", "yolo/data.yaml"} <= names
    assert len({label["colour"] for label in labels}) == 2


# Controls that a screen reader could not name.
NAMELESS = """() => [...document.querySelectorAll('button, input, textarea, select, [role=tab], [role=slider], a')]
  .filter(e => {
    const box = e.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && getComputedStyle(e).visibility !== 'hidden';
  })
  .filter(e => ![
    e.getAttribute('aria-label'), e.title, e.textContent, e.alt, e.placeholder,
    ...[...e.querySelectorAll('[alt], [aria-label]')].map(part => part.alt || part.getAttribute('aria-label')),
    ...[...(e.labels || [])].map(label => label.textContent),
    ...(e.getAttribute('aria-labelledby') || '').split(' ').map(id => document.getElementById(id)?.textContent),
  ].some(text => text && text.trim()))
  .map(e => e.outerHTML.slice(0, 300))"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_looks(browser: Browser, server: SimpleNamespace, theme: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{server.url}?__theme={theme}")
    cheetahs(page)
    press(page, "Mark them")
    says(page, "4 of 4")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for name in ("Segment", "Look inside", "In code", "Match points", "Concepts"):
            tab(page, name)
            if name == "Match points":
                expect(page.locator("#debiased img")).to_be_visible()
            page.wait_for_timeout(700)
            shot(page, f"{name.lower().replace(' ', '-')}-{width}-{theme}")
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name
            assert page.evaluate(NAMELESS) == [], name
    text = page.evaluate("getComputedStyle(document.querySelector('h1')).color")
    assert (sum(map(int, re.findall(r"\d+", text)[:3])) > 600) == (theme == "dark")
    context.close()


def test_the_keyboard_suffices(page: Page) -> None:
    def go_to(name: str, role: str = "button") -> None:
        """Tab on until the focus is there."""
        for _ in range(150):
            focused = page.evaluate(
                "() => { const e = document.activeElement; return (e.getAttribute('aria-label') || e.innerText || "
                "(e.labels && e.labels[0] && e.labels[0].innerText) || '').trim() }"
            )
            if focused.startswith(name):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"the keyboard does not reach {name}")

    go_to("Load the cheetahs")
    page.keyboard.press("Enter")
    says(page, "4 pictures to mark")
    go_to("Click regions")
    page.keyboard.press("Enter")
    go_to("Points, +x,y")
    page.keyboard.type("128,128")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("% of the reference is marked")
    go_to("Mark them")
    page.keyboard.press("Enter")
    says(page, "4 of 4")
    before = overlays(page)
    go_to("number input for Threshold")
    page.keyboard.press("Control+A")
    page.keyboard.type("0.6")
    page.keyboard.press("Enter")
    expect(page.locator("#results img").first).not_to_have_attribute("src", before[0])
    go_to("Pack the download")
    page.keyboard.press("Enter")
    says(page, "Packed.")
