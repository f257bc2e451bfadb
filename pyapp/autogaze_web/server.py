"""The page's server: this machine only, what build.json lists and nothing else, with the headers a cross-origin isolated page needs.

A path is looked up in that list and never joined to a folder, so there is nothing to escape from. Every answer, a refusal too, carries
HEADERS. CPython only.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
import webbrowser
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from types import FrameType

import uvicorn
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from autogaze_web.display import say, tell
from autogaze_web.errors import MissingError, SettingsError

ADDRESS = "127.0.0.1"
PORT = 8765
PORTS_TO_TRY = 100
BUILD = "build.json"
GRACE_S = 1  # for answers that are under way when Ctrl-C is pressed

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",  # with the next: shared memory, so that WASM can use threads
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # ask each time; the answer is mostly 304
}
MIME_TYPES = {
    "": "text/plain; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".md": "text/plain; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".zip": "application/zip",
}
BINARY = "application/octet-stream"  # graphs and weights


def page_folder() -> Path:
    """Where the built page is: in the installed package, or in the checkout; MissingError where it was not built."""
    here = Path(__file__).resolve().parent
    checkout = here.parents[1]
    for folder in (here / "page", checkout / "web" / "dist"):
        if (folder / BUILD).is_file():
            return folder
    if (checkout / "Makefile").is_file():
        raise MissingError("The page is not built yet. Run: make serve (or make web, then autogaze-web serve)")
    raise MissingError("This installation came without the page. Install a wheel from `make wheel`, or run `make serve` in a checkout.")


class WholeFile(FileResponse):
    """A file in pieces large enough for tens of megabytes."""

    chunk_size = 1 << 20


class Page:
    """The ASGI application: `folder` as build.json describes it, to who asks for `port` of this machine."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder.resolve()
        self.hosts = {f"{name}:{port}" for name in (ADDRESS, "localhost")} | ({ADDRESS, "localhost"} if port == 80 else set())
        self.stamp: tuple[int, int] | None = None
        self.tags: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = self.answer(request)
        response.headers.update(HEADERS)
        await response(scope, receive, send)

    def answer(self, request: Request) -> Response:
        """A refusal in a sentence, "not modified", or the file."""
        if request.headers.get("host", "").lower() not in self.hosts:  # another name may be a foreign site that points here
            expected = " or ".join(sorted(self.hosts))
            return refusal(HTTPStatus.MISDIRECTED_REQUEST, f"This server answers to {expected} only. Open it under that address.")
        if request.method not in ("GET", "HEAD"):
            allowed = {"Allow": "GET, HEAD"}
            return refusal(HTTPStatus.METHOD_NOT_ALLOWED, "This server only hands out files: use GET or HEAD.", allowed)
        name = request.scope["path"].removeprefix("/") or "index.html"
        try:
            self.read_list()
        except (FileNotFoundError, ValueError):
            return refusal(HTTPStatus.SERVICE_UNAVAILABLE, "The page is being built. Try again in a moment.")
        tag = self.tags.get(name)
        if tag is None and name == "favicon.ico":  # asked for by browsers on their own account, for LICENSES.txt too
            return Response(status_code=HTTPStatus.NO_CONTENT)
        if tag is None or not (self.folder / name).is_file():
            return refusal(HTTPStatus.NOT_FOUND, "There is no such file. The page is at /.")
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
        media = MIME_TYPES.get(PurePosixPath(name).suffix, BINARY)
        return WholeFile(self.folder / name, headers={"ETag": tag}, media_type=media)

    def read_list(self) -> None:
        """The names that are served, with their entity tags; read again when the page was built again."""
        status = (self.folder / BUILD).stat()
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp == self.stamp:
            return
        assets = json.loads((self.folder / BUILD).read_bytes())["assets"]
        inside = [name for name in assets if (self.folder / name).resolve().is_relative_to(self.folder)]
        self.tags = {name: f'"{assets[name]["sha256"]}"' for name in inside} | {BUILD: f'"{status.st_mtime_ns:x}"'}
        self.stamp = stamp


def refusal(status: HTTPStatus, sentence: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(sentence + "\n", status_code=status, headers=headers)


def listen(port: int | None) -> socket.socket:
    """A listening socket on that port, or on the first free one from PORT on; 0: any. SettingsError where it cannot be had."""
    if port is not None:
        return bound(port)
    for candidate in range(PORT, PORT + PORTS_TO_TRY):
        try:
            return bound(candidate)
        except SettingsError:
            continue
    raise SettingsError(f"No port from {PORT} to {PORT + PORTS_TO_TRY - 1} is free. Name another one with --port.")


def bound(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port whose last connections are still closing is free
        listener.bind((ADDRESS, port))
        listener.listen(100)  # from here on nobody is refused, though the answer comes when the loop runs
    except OSError as error:
        listener.close()
        raise SettingsError(f"Port {port} cannot be used ({error.strerror}). Leave --port out for the next free one.") from error
    return listener


def has_display() -> bool:
    """Whether a browser would be seen."""
    return sys.platform in ("win32", "darwin") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


class Server(uvicorn.Server):
    """Stops in silence: an answer that Ctrl-C cuts off is no fault."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        logging.disable()
        super().handle_exit(sig, frame)


def web_server(page: Page) -> Server:
    """Silent but for faults of the program, and quick to stop."""
    config = uvicorn.Config(
        page,
        http="h11",
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    return Server(config)


def serve(port: int | None, open_browser: bool) -> None:
    """Serve until Ctrl-C. Prints the address."""
    folder = page_folder()
    with listen(port) as listener:
        taken = listener.getsockname()[1]
        address = f"http://{ADDRESS}:{taken}/"
        tell(address)
        say("Serving the page to this machine only. Ctrl-C stops it.")
        if open_browser and has_display():
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()  # some browsers return when they are closed
        with suppress(KeyboardInterrupt):  # how a server is stopped: no failure
            web_server(Page(folder, taken)).run(sockets=[listener])
