"""The server as programs see it: its API, its limits, and what a stranger may try."""

import os
import re
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from insid3 import INSID3
from insid3.imaging.masks import read_mask
from stubs import box_mask, colour_model, free_port, scene

HERE = Path(__file__).parent
BOX = (16, 16, 48, 48)


@contextmanager
def running(folder: Path, *words: str, env: dict[str, str] | None = None) -> Iterator[SimpleNamespace]:
    """A server with its URL and where it has its files; ended by Ctrl-C."""
    port = free_port()
    command = [sys.executable, str(HERE / "serve_stub.py"), str(port), str(folder), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready "), line
        root = Path(line.split()[1])
        try:
            yield SimpleNamespace(url=f"http://127.0.0.1:{port}/", root=root, folder=folder)
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
    assert not root.exists()  # nothing of what was uploaded stays


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "secret.txt").write_text("treasure")
    Image.fromarray(scene(BOX)).save(folder / "served.png")
    with running(folder) as started:
        yield started


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    pictures = {"ref": scene(BOX), "corner": scene((0, 0, 32, 32)), "green": scene(BOX, colour=1)}
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    Image.fromarray(box_mask(*BOX).astype(np.uint8) * 255).save(tmp_path / "mask.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    return {path.stem: path for path in tmp_path.iterdir()}


def client(server: SimpleNamespace, tmp_path: Path) -> Client:
    return Client(server.url, verbose=False, download_files=str(tmp_path / "downloads"))


def segment(asked: Client, files: dict[str, Path], *targets: str, **settings: float) -> tuple[list[str], list[Any]]:
    ref, mask, given = handle_file(files["ref"]), handle_file(files["mask"]), [handle_file(files[t]) for t in targets]
    masks, rows = asked.predict(ref, mask, given, **settings, api_name="/segment")
    return masks or [], rows


def refused(asked: Client, *args: Any, api_name: str) -> str:
    with pytest.raises(AppError) as error:
        asked.predict(*args, api_name=api_name)
    return str(error.value)


def alive(server: SimpleNamespace) -> bool:
    return httpx.get(server.url, timeout=20).status_code == 200


def test_segment_by_name(server: SimpleNamespace, files: dict[str, Path], tmp_path: Path, model: INSID3) -> None:
    asked = client(server, tmp_path)
    masks, rows = segment(asked, files, "corner", "broken", "green")
    expected = model.segment(files["corner"], model.concept(files["ref"], files["mask"]))
    assert np.array_equal(read_mask(masks[0], (64, 64)), expected.mask)
    assert [row["target"] for row in rows] == ["corner.png", "broken.jpg", "green.png"]
    assert rows[0] == {
        "target": "corner.png", "mask": 0, "score": round(expected.score, 4), "area": int(expected.mask.sum()),
        "reason": None, "error": None,
    }  # fmt: skip
    assert rows[1]["error"].startswith("broken.jpg is not a picture")
    assert rows[1]["mask"] is None
    assert "resembles" in rows[2]["reason"]
    assert rows[2]["mask"] == 1
    assert read_mask(masks[1], (64, 64), may_be_empty=True).sum() == 0


def test_settings_by_name(server: SimpleNamespace, files: dict[str, Path], tmp_path: Path) -> None:
    asked = client(server, tmp_path)
    masks, _ = segment(asked, files, "corner", size=64, tau=0.8, threshold=0.3)
    fine = colour_model(size=64, tau=0.8, threshold=0.3)
    expected = fine.segment(files["corner"], fine.concept(files["ref"], files["mask"]))
    assert np.array_equal(read_mask(masks[0], (64, 64)), expected.mask)
    assert segment(asked, files, "corner", threshold=5.0)[1][0]["reason"].startswith("no cluster scores above")
    for settings, message in (
        ({"size": 33}, "size 33 is not a multiple of the patch size 4"),
        ({"size": 4000}, "size 4000 is more than this server allows"),
        ({"tau": 7}, "tau is a cosine similarity"),
    ):
        with pytest.raises(AppError, match=message):
            segment(asked, files, "corner", **settings)


def test_all_at_once(server: SimpleNamespace, files: dict[str, Path], tmp_path: Path) -> None:
    """One client asks all its questions before it fetches an answer."""
    asked = client(server, tmp_path)
    sent = [handle_file(files[name]) for name in ("ref", "mask", "corner")]
    jobs = [asked.submit(sent[0], sent[1], [sent[2]] * 20, api_name="/segment") for _ in range(12)]
    for job in jobs:
        masks, rows = job.result(120)
        assert [row["error"] for row in rows] == [None] * 20
        assert all(read_mask(Path(mask), (64, 64)).any() for mask in masks)


def test_match_by_name(server: SimpleNamespace, files: dict[str, Path], tmp_path: Path, model: INSID3) -> None:
    asked = client(server, tmp_path)
    pair = handle_file(files["ref"]), handle_file(files["corner"])
    rows = asked.predict(*pair, "[[20, 20], [60, 60]]", api_name="/match")
    expected = model.match(files["corner"], model.concept(files["ref"]), [[20, 20], [60, 60]])
    assert np.allclose([[row["x"], row["y"]] for row in rows], expected.xy, atol=0.006)
    assert rows[0]["point"] == [20, 20]
    for points, message in (
        ("20,20", "points_json must look like"),
        ("[[1]]", "points must be (x, y) pairs"),
        ("[[900, 1]]", "lies outside the reference"),
        ('{"a": 1}', "points must be (x, y) pairs"),
    ):
        assert message in refused(asked, *pair, points, api_name="/match")


def test_nothing_else_is_to_be_had_by_name(server: SimpleNamespace, tmp_path: Path) -> None:
    api = client(server, tmp_path).view_api(return_format="dict")
    assert sorted(api["named_endpoints"]) == ["/match", "/segment"]
    parameters = {
        p["parameter_name"]: p["parameter_has_default"] for p in api["named_endpoints"]["/segment"]["parameters"]
    }
    assert parameters == {
        "reference": False, "mask": False, "targets": False, "size": True, "tau": True, "threshold": True
    }  # fmt: skip


def upload(server: SimpleNamespace, name: str, content: bytes) -> httpx.Response:
    return httpx.post(f"{server.url}gradio_api/upload", files={"files": (name, content)}, timeout=60)


def test_files_outside_are_not_to_be_had(server: SimpleNamespace, files: dict[str, Path], tmp_path: Path) -> None:
    uploaded = upload(server, "a.png", files["ref"].read_bytes()).json()[0]
    assert httpx.get(f"{server.url}gradio_api/file={uploaded}").status_code == 200
    secret = server.folder / "secret.txt"
    for path in (
        "/etc/passwd",
        str(secret),
        f"{server.root}/../../etc/passwd",
        f"{uploaded}/../../../../../../etc/passwd",
        f"file://{secret}",
        str(server.root),
        str(server.root / "files"),
        f"{server.root}/files/sessions",
        str(Path(__file__)),
        "pyproject.toml",
        "%2e%2e/%2e%2e/etc/passwd",
        f"http://127.0.0.1:{server.url.split(':')[2]}",
    ):
        answer = httpx.get(f"{server.url}gradio_api/file={path}")
        assert answer.status_code in (302, 403, 404, 405, 500), (path, answer.status_code)
        assert b"treasure" not in answer.content
        assert b"root:" not in answer.content
    served = str(server.folder / "served.png")  # only the page's checkbox gives it away
    for path in ("/etc/passwd", str(secret), served, f"{uploaded}/../../../../{secret}", "http://127.0.0.1:1/a.png"):
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        asked = httpx.post(f"{server.url}gradio_api/call/match", json={"data": [file, file, "[[1, 1]]"]})
        answer = httpx.get(f"{server.url}gradio_api/call/match/{asked.json()['event_id']}", timeout=30)
        assert answer.text.startswith("event: error"), (path, answer.text)
        assert "treasure" not in answer.text
    assert alive(server)


def png(width: int, height: int) -> bytes:
    """One of so many black pixels, a few kilobytes long."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    packer, rows = zlib.compressobj(9), b"".join([b"\0" * (width // 8 + 1)])
    data = packer.compress(rows * min(height, 100)) + packer.flush()
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_what_only_looks_like_a_picture(server: SimpleNamespace, files: dict[str, Path], tmp_path: Path) -> None:
    asked = client(server, tmp_path)
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    tricks = {
        "vector.svg": (svg, "not a picture of a supported format"),
        "vector.png": (svg, "not a picture of a supported format"),
        "page.html": (b"<html><script>alert(1)</script></html>", "not a picture of a supported format"),
        "page.jpg": (b"<html><script>alert(1)</script></html>", "not a picture of a supported format"),
        "huge.png": (png(50_000, 50_000), "huge.png has 50000 x 50000 pixels, the limit is"),
        "empty.png": (b"", "empty"),
        "program.gif": (b"GIF89a" + bytes(100), "program.gif"),
        "postscript.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) run", "not a picture of a supported format"),
    }
    for name, (content, message) in tricks.items():
        (tmp_path / name).write_bytes(content)
        told = refused(asked, handle_file(tmp_path / name), handle_file(files["corner"]), "[[1, 1]]", api_name="/match")
        assert message in told, (name, told)
        assert str(server.root) not in told
    uploaded = upload(server, "page.html", tricks["page.html"][0]).json()[0]
    answer = httpx.get(f"{server.url}gradio_api/file={uploaded}")
    assert "attachment" in answer.headers["content-disposition"]  # never shown as a page
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert alive(server)


def test_large_uploads_are_refused(server: SimpleNamespace) -> None:
    assert upload(server, "a.png", bytes(1_200_000)).status_code == 413
    too_much = upload(server, "b.png", bytes(200 * 10**6))
    assert too_much.status_code == 413
    assert "too large: the limit is 1 MB" in too_much.text

    def endless() -> Iterator[bytes]:  # without saying how much it will be
        for _ in range(100):
            yield bytes(10**6)

    headers = {"content-type": "application/json"}
    try:
        answer = httpx.post(f"{server.url}gradio_api/queue/join", content=endless(), headers=headers, timeout=60)
        assert answer.status_code >= 400
    except httpx.TransportError:
        pass  # hung up on
    body = {"data": ["x" * 3 * 10**6], "fn_index": 0, "session_hash": "x"}
    assert httpx.post(f"{server.url}gradio_api/queue/join", json=body, timeout=60).status_code == 413
    kept = sum(path.stat().st_size for path in server.root.rglob("*") if path.is_file())
    assert kept < 5 * 10**6
    assert alive(server)


def test_who_hangs_up_is_no_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with running(tmp_path) as server:
        form = "multipart/form-data; boundary=x"
        head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: {form}\r\nContent-Length: 9999\r\n\r\n"
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", int(server.url.split(":")[2].strip("/")))) as visitor:
                visitor.sendall(head.encode() + b"--x\r\n")
        assert alive(server)
    assert "Traceback" not in capfd.readouterr().err


def test_nothing_from_elsewhere(server: SimpleNamespace) -> None:
    page = httpx.get(server.url)
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy.replace("http-equiv", "")
    assert "googleapis" not in page.text
    config = httpx.get(f"{server.url}config").json()
    assert config["analytics_enabled"] is False


def test_the_server_calls_nobody(tmp_path: Path, files: dict[str, Path]) -> None:
    (tmp_path / "site").mkdir()
    log = tmp_path / "calls.txt"
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import sys\n"
        "def hook(event, args):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo'):\n"
        f"        with open({str(log)!r}, 'a') as log:\n"
        "            log.write(f'{event} {args[1] if event == \"socket.connect\" else args[0]}\\n')\n"
        "sys.addaudithook(hook)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    with running(tmp_path, env=env) as server:
        segment(client(server, tmp_path), files, "corner")
        httpx.get(server.url)
    calls = log.read_text().splitlines()
    assert calls  # the hook is there: the server asks itself whether it is up
    assert not [call for call in calls if not any(own in call for own in ("127.0.0.1", "localhost", "::1", "/"))]


def test_a_password(tmp_path: Path, files: dict[str, Path]) -> None:
    with running(tmp_path, "auth") as server:
        assert httpx.get(f"{server.url}config").status_code == 401
        assert httpx.post(f"{server.url}gradio_api/upload", files={"files": ("a.png", b"x")}).status_code == 401
        for password, status in (("wrong", 400), ("secret", 200)):
            entered = httpx.post(f"{server.url}login", data={"username": "anna", "password": password})
            assert entered.status_code == status
        asked = Client(server.url, auth=("anna", "secret"), verbose=False, download_files=str(tmp_path / "d"))
        assert segment(asked, files, "corner")[1][0]["area"] > 0


def test_the_example_of_the_documentation(
    server: SimpleNamespace, tmp_path: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (HERE.parents[1] / "docs" / "app.md").read_text("utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0].replace("http://127.0.0.1:7860/", server.url)
    code = code.replace("[[417, 180], [300, 220]]", "[[20, 24], [40, 30]]")  # the pictures here are smaller
    for name, stem in {"cat": "ref", "cat_mask": "mask", "one": "corner", "two": "green"}.items():
        Image.open(files[stem]).save(tmp_path / f"{name}.{'png' if 'mask' in name else 'jpg'}", quality=95)
    monkeypatch.chdir(tmp_path)
    said = list[tuple[Any, ...]]()
    exec(code, {"print": lambda *words: said.append(words)})
    assert [words[0] for words in said] == ["one.jpg", "two.jpg", [20, 24], [40, 30]]
    assert read_mask(Path(said[0][2]), (64, 64)).any()
    assert all(0 <= number < 64 for words in said[2:] for number in words[1:3])


def test_many_clients_get_their_own_answers(server: SimpleNamespace, tmp_path: Path) -> None:
    """Each has a box of its own, which nobody else has."""

    def visit(number: int) -> list[int]:
        own = tmp_path / str(number)
        own.mkdir()
        top, left = 8 * (number % 4), 8 * (number // 4)
        box = (top, left, top + 32, left + 24)
        Image.fromarray(scene(BOX)).save(own / "ref.png")
        Image.fromarray(box_mask(*BOX).astype(np.uint8) * 255).save(own / "mask.png")
        Image.fromarray(scene(box)).save(own / "same name.png")
        mine = {path.stem: path for path in own.iterdir()}
        asked, wrong = Client(server.url, verbose=False, download_files=str(own / "d")), []
        expected = box_mask(*box)
        for turn in range(5):
            masks, rows = segment(asked, mine, "same name")
            found = read_mask(masks[0], (64, 64))
            if (found & expected).sum() < 0.95 * (found | expected).sum() or rows[0]["error"]:
                wrong.append(turn)
        return wrong

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(visit, range(16))) == [[]] * 16


def test_more_than_may_wait_are_told_so(tmp_path: Path, files: dict[str, Path]) -> None:
    with running(tmp_path, "slow") as server:
        asked = client(server, tmp_path)
        sent = [handle_file(files[name]) for name in ("ref", "mask", "corner")]
        jobs = [asked.submit(sent[0], sent[1], [sent[2]], size=4 * (i + 8), api_name="/segment") for i in range(30)]
        told = []
        for job in jobs:
            try:
                told.append(job.result(120)[1][0]["area"] > 0)
            except Exception as error:
                told.append(str(error))
        busy = {str(entry) for entry in told if entry is not True}
        assert busy
        assert all("Queue is full" in entry for entry in busy), busy
        assert told.count(True) >= 6  # those that may wait; how many are in hand by then is the machine's affair
        assert segment(asked, files, "corner")[1][0]["area"] > 0


def test_a_taken_port_is_named(server: SimpleNamespace, tmp_path: Path) -> None:
    port = server.url.split(":")[2].strip("/")
    command = [sys.executable, str(HERE / "serve_stub.py"), port, str(tmp_path)]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert failed.returncode == 1
    assert f"cannot serve at 127.0.0.1:{port}" in failed.stderr
    assert "use another --port" in failed.stderr
