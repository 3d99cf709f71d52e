"""The server: one model, a bounded queue, limits for whoever asks, nothing from or to elsewhere."""

import os
import shutil
import signal
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from insid3.app.same import Same
from insid3.app.session import Session
from insid3.app.sessions import Kept, Sessions, Turns
from insid3.errors import ConfigError
from insid3.model import INSID3

KEPT_BYTES = 512 * 2**20  #: of encoded pictures, of all sessions
_FREE = 2**30  # bytes that uploads leave on the disk
# No script, style, font or picture from elsewhere.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "frame-ancestors 'self'; base-uri 'self'; form-action 'self'"
)


@dataclass(frozen=True)
class Limits:
    """What one visitor may ask of the server.

    Attributes:
        upload: bytes of one file.
        queue: questions that may wait; more are told that the server is busy.
        sessions: pages open at once.
        idle: seconds after which a page that asks nothing is forgotten.
    """

    upload: int = 25 * 10**6
    queue: int = 64
    sessions: int = 64
    idle: float = 3600


class Guard:
    """ASGI middleware: refuses what is too large before it is read, and says what a browser may load."""

    def __init__(self, app: Any, upload: int, folder: Path) -> None:
        self.app, self.upload, self.folder = app, upload, folder

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        size = int(length) if length.isdigit() else 0
        uploads = scope["path"].endswith("/upload")
        limit = self.upload * (40 if uploads else 1) + 2**20  # many files come at once
        if size > limit:
            return await _refuse(send, 413, f"too large: the limit is {self.upload / 1e6:g} MB for a file")
        if uploads and shutil.disk_usage(self.folder).free < _FREE + size:
            return await _refuse(send, 507, "the server's disk is full: try again later")

        received = 0

        async def counted() -> Any:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message if received <= limit else {"type": "http.disconnect"}

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", _POLICY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        from starlette.requests import ClientDisconnect

        with suppress(ClientDisconnect):  # who closes the page in mid-upload is no error
            await self.app(scope, counted, guarded)


async def _refuse(send: Any, status: int, text: str) -> None:
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Server:
    """A running page; a context manager that ends it and deletes all that was uploaded."""

    def __init__(
        self,
        model: INSID3,
        same: Same,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        users: list[tuple[str, str]] | None = None,
        folder: Path | None = None,
        limits: Limits | None = None,
        note: str = "",
    ) -> None:
        """Start it; returns when it answers.

        Args:
            port: the first free one from 7860 on if not given.
            users: (name, password) of those who may enter; everybody if not given.
            folder: whose pictures visitors may mark.
            note: which backbone runs, for the page.

        Raises:
            ConfigError: the port is taken.
        """
        limits = limits or Limits()
        self.root = Path(tempfile.mkdtemp(prefix="insid3-app-"))
        # Read by gradio when its parts are made; nothing of it leaves this machine.
        os.environ |= {
            "GRADIO_TEMP_DIR": str(self.root / "files"),
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_RUN_HISTORY": "False",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        import gradio as gr
        from fastapi.middleware import Middleware

        from insid3.app.answers import Answers
        from insid3.app.api import AT_ONCE, add_api
        from insid3.app.page import CSS, HEAD, Page

        self.kept, self.lock = Kept(KEPT_BYTES), Turns()
        self.sessions: Sessions[Session] = Sessions(
            lambda own: Session(model, own, self.kept, self.lock, folder),
            self.root / "files" / "sessions",
            limits.sessions,
            limits.idle,
        )
        self.blocks = Page(Answers(self.sessions, same), note, folder).build(round(limits.idle))
        with self.blocks:
            add_api(self.sessions)
        self.blocks.queue(max_size=limits.queue, default_concurrency_limit=AT_ONCE)
        fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
        mono = ["ui-monospace", "SFMono-Regular", "Consolas", "monospace"]
        self._ended = threading.Event()
        try:
            _, self.url, _ = self.blocks.launch(
                server_name=host,
                server_port=port,
                auth=users,
                max_file_size=limits.upload,
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                ssr_mode=False,
                footer_links=["api"],
                enable_monitoring=False,
                state_session_capacity=4 * limits.sessions,
                theme=gr.themes.Default(primary_hue="pink", font=fonts, font_mono=mono),
                css=CSS,
                head=HEAD,
                app_kwargs={"middleware": [Middleware(Guard, upload=limits.upload, folder=self.root)]},
            )
        except OSError as error:
            self.close()
            raise ConfigError(f"cannot serve at {host}:{port or '7860-7959'} ({error}): use another --port") from error
        threading.Thread(target=self._sweep, daemon=True).start()

    def wait(self) -> None:
        """Until Ctrl-C, or until the process is told to end."""
        told = threading.Event()
        for kind in (signal.SIGINT, signal.SIGTERM):
            signal.signal(kind, lambda *_: told.set())
        while not told.wait(1):  # without a limit Windows would not look at signals
            pass

    def close(self) -> None:
        """End it."""
        self._ended.set()
        self.blocks.close(verbose=False)
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _sweep(self) -> None:
        while not self._ended.wait(60):
            self.sessions.sweep()
            self.sessions.tidy()
