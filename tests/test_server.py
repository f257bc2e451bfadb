"""The page's server over real sockets: who is answered, what is handed out, with which headers, and how it starts and stops."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autogaze_web import server
from autogaze_web.errors import MissingError, SettingsError

FILES = {
    "index.html": "text/html; charset=utf-8",
    "main.js": "text/javascript; charset=utf-8",
    "main.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "LICENSES.txt": "text/plain; charset=utf-8",
    "autogaze_web.zip": "application/zip",
    "sample.webm": "video/webm",
    "controls.json": "application/json",
    "models/default/step_first.onnx": "application/octet-stream",
    "models/default/model.safetensors": "application/octet-stream",
    "models/default/LICENSE": "text/plain; charset=utf-8",
    "vendor/ort/ort.mjs": "text/javascript; charset=utf-8",
    "vendor/ort/ort.wasm": "application/wasm",
}
OTHER_NAMES = """
evil.example evil.example:{} 127.0.0.1 localhost 127.0.0.1:1 127.0.0.1:{}.evil.example 127.0.0.1:{}@evil.example
localhost.:{} [::1]:{} 0.0.0.0:{} 127.0.0.1:0{} ,
"""
NO_FILES = r"""
/../secret.txt /%2e%2e/secret.txt /..%2fsecret.txt /vendor/../../secret.txt /vendor/%2e%2e/%2e%2e/secret.txt
/..\secret.txt /%5c..%5csecret.txt /..%5csecret.txt /%252e%252e/secret.txt /link.txt /unlisted.txt
//secret.txt //main.js /./main.js /vendor/../main.js /main.js/ /main.js%00 /main.js%00.txt /vendor /vendor/
/MAIN.JS /. /.. /%ff%fe /etc/passwd //etc/passwd /file:///etc/passwd /C:%5cWindows%5cwin.ini
"""
ANSWERS = [("/", "GET", "", 200), ("/none", "GET", "", 404), ("/", "POST", "", 405), ("/", "GET", "evil.example", 421)]
ANSWERS += [("/favicon.ico", "GET", "", 204)]
LARGE = 30_000_000  # bytes: more than sockets buffer
SERVE = """
import sys
from pathlib import Path
from autogaze_web import cli, server
folder = Path(sys.argv.pop(1))
server.page_folder = lambda: folder
cli.main()
"""


def write_list(folder: Path, names: list[str]) -> None:
    assets = {}
    for name in names:
        content = (folder / name).read_bytes()
        assets[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "build.json").write_text(json.dumps({"versions": {}, "assets": assets}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every kind of file, and things around it that are not to be had."""
    page = tmp_path_factory.mktemp("around") / "page"
    for name in FILES:
        (page / name).parent.mkdir(parents=True, exist_ok=True)
        (page / name).write_text(f"content of {name}")
    (page / "vendor/ort/ort.wasm").write_bytes(bytes(LARGE))
    (page.parent / "secret.txt").write_text("secret")
    (page / "unlisted.txt").write_text("secret")
    (page / "link.txt").symlink_to(page.parent / "secret.txt")
    write_list(page, [*FILES, "link.txt", "../secret.txt"])  # the last two would be a fault of the build
    return page


@contextmanager
def running(folder: Path) -> Iterator[int]:
    """Its port."""
    listener = server.listen(0)
    port = listener.getsockname()[1]
    web = server.web_server(server.Page(folder, port))
    thread = threading.Thread(target=web.run, args=([listener],))
    thread.start()
    yield port
    web.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    with running(folder) as port:
        yield port


def ask(
    port: int, path: str, method: str = "GET", host: str | None = "", headers: dict[str, str] | None = None
) -> http.client.HTTPResponse:
    """The answer, its body read into `content`; host: "" for the right one, None for none. The path is sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection._validate_path = lambda path: None  # type: ignore[attr-defined]
    connection.putrequest(method, path, skip_host=True)
    if host is not None:
        connection.putheader("Host", host or f"127.0.0.1:{port}")
    for name, value in (headers or {}).items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    answer.content = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


def body(answer: http.client.HTTPResponse) -> bytes:
    return answer.content  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("name", FILES)
def test_files_come_with_their_type(port: int, folder: Path, name: str) -> None:
    answer = ask(port, f"/{name}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, FILES[name])
    assert body(answer) == (folder / name).read_bytes()


def test_the_root_is_the_page_and_the_list_is_served(port: int) -> None:
    assert body(ask(port, "/")) == b"content of index.html"
    assert body(ask(port, "/?sample=1")) == b"content of index.html"
    assert "main.js" in json.loads(body(ask(port, "/build.json")))["assets"]


@pytest.mark.parametrize(("path", "method", "host", "status"), ANSWERS)
def test_every_answer_has_the_headers(port: int, path: str, method: str, host: str, status: int) -> None:
    answer = ask(port, path, method, host)
    assert answer.status == status
    for name, value in server.HEADERS.items():
        assert answer.headers.get_all(name) == [value], name
    assert answer.headers["Server"] is None


def test_the_policy_allows_nothing_inline_and_nobody_else() -> None:
    policy = dict(rule.split(" ", 1) for rule in server.CONTENT_SECURITY_POLICY.split("; "))
    assert policy["default-src"] == "'none'"
    allowed = {source for sources in policy.values() for source in sources.split()}
    assert allowed == {"'none'", "'self'", "'wasm-unsafe-eval'", "blob:", "data:"}
    assert [rule for rule in policy if "data:" in policy[rule]] == ["img-src"]
    assert [rule for rule in policy if "blob:" in policy[rule]] == ["img-src", "media-src"]


@pytest.mark.parametrize("host", ["localhost:{}", "LOCALHOST:{}", "127.0.0.1:{}"])
def test_this_machine_is_answered(port: int, host: str) -> None:
    assert ask(port, "/", host=host.format(port)).status == 200


@pytest.mark.parametrize("host", OTHER_NAMES.split())  # {}: the right port
def test_other_names_are_refused(port: int, host: str) -> None:
    """A name of somebody else's that resolves to this machine (DNS rebinding) reads nothing."""
    answer = ask(port, "/main.js", host=host.format(port))
    assert answer.status == 421
    assert body(answer).decode() == f"This server answers to 127.0.0.1:{port} or localhost:{port} only. Open it under that address.\n"


def test_no_name_or_two_are_refused(port: int) -> None:
    assert ask(port, "/", host=None).status == 400
    assert ask(port, "/", headers={"Host": "evil.example"}).status == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_only_reading(port: int, method: str) -> None:
    answer = ask(port, "/main.js", method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_head_is_get_without_the_content(port: int) -> None:
    get, head = ask(port, "/main.js"), ask(port, "/main.js", "HEAD")
    assert body(head) == b""
    assert {**head.headers, "date": ""} == {**get.headers, "date": ""}


@pytest.mark.parametrize("path", [*NO_FILES.split(), "/" + "a" * 5000])
def test_nothing_but_the_listed_names(port: int, path: str) -> None:
    answer = ask(port, path)
    assert (answer.status, body(answer)) == (404, b"There is no such file. The page is at /.\n")


def test_unchanged_files_are_not_sent_again(port: int) -> None:
    first = ask(port, "/main.js")
    assert first.headers["Cache-Control"] == "no-cache"
    assert first.headers["Last-Modified"]
    again = ask(port, "/main.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, body(again), again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert ask(port, "/main.js", headers={"If-None-Match": '"other"'}).status == 200


def test_a_new_build_is_served_at_once(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("old")
    write_list(tmp_path, ["index.html"])
    with running(tmp_path) as port:
        old = ask(port, "/")
        (tmp_path / "index.html").write_text("new and longer")
        (tmp_path / "more.js").write_text("more")
        write_list(tmp_path, ["index.html", "more.js"])
        assert body(ask(port, "/", headers={"If-None-Match": old.headers["ETag"]})) == b"new and longer"
        assert ask(port, "/more.js").status == 200
        (tmp_path / "build.json").unlink()
        assert ask(port, "/").status == 503  # while a build replaces the folder


def test_only_this_machine_can_connect() -> None:
    with server.listen(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_the_next_free_port_is_taken_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with server.listen(0) as busy:
        taken = busy.getsockname()[1]
        monkeypatch.setattr(server, "PORT", taken)
        with server.listen(None) as other:
            assert taken < other.getsockname()[1] < taken + server.PORTS_TO_TRY
        with pytest.raises(SettingsError, match=rf"Port {taken} cannot be used \(.+\)\. Leave --port out for the next free one\."):
            server.listen(taken)
        monkeypatch.setattr(server, "PORTS_TO_TRY", 1)
        with pytest.raises(SettingsError, match=f"No port from {taken} to {taken} is free. Name another one with --port."):
            server.listen(None)


@contextmanager
def serving(folder: Path, *options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`autogaze-web serve` as a process, and the address that it printed."""
    bare = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")}
    command = [sys.executable, "-c", SERVE, str(folder), "serve", *options]
    paths = {"PYTHONPATH": str(Path(server.__file__).parents[1])}
    process = subprocess.Popen(command, env=bare | paths | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("during", ["idle", "a connection kept alive", "a long download"])
def test_ctrl_c_ends_it_silently(folder: Path, during: str) -> None:
    with serving(folder, "--port", "0", "--no-open") as (process, address):
        port = int(address.removeprefix("http://127.0.0.1:").removesuffix("/"))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/vendor/ort/ort.wasm" if during == "a long download" else "/")
        if during != "a long download":
            connection.getresponse().read()
        if during == "idle":
            connection.close()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
        assert process.returncode == 0
        assert errors == "Serving the page to this machine only. Ctrl-C stops it.\n"


def test_a_named_port_that_is_taken_is_a_sentence(folder: Path) -> None:
    with server.listen(0) as busy, serving(folder, "--port", str(busy.getsockname()[1])) as (process, address):
        _, errors = process.communicate(timeout=20)
        assert (process.returncode, address) == (2, "")
        assert errors.startswith(f"error: Port {busy.getsockname()[1]} cannot be used (")
        assert errors.count("\n") == 1


@pytest.mark.parametrize(("options", "display", "opened"), [((), ":9", True), (("--no-open",), ":9", False), ((), "", False)])
def test_a_browser_opens_where_it_is_seen(folder: Path, tmp_path: Path, options: tuple[str, ...], display: str, opened: bool) -> None:
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened.new && mv {tmp_path}/opened.new {tmp_path}/opened\n')
    script.chmod(0o755)
    with serving(folder, "--port", "0", *options, DISPLAY=display, BROWSER=f"{script} %s") as (_, address):
        until = time.monotonic() + (10 if opened else 1)
        while not (tmp_path / "opened").exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert (tmp_path / "opened").exists() == opened
        if opened:
            assert (tmp_path / "opened").read_text().strip() == address


@pytest.mark.parametrize(("where", "sentence"), [("checkout", "is not built yet. Run: make serve"), ("wheel", "came without the page")])
def test_a_missing_page_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, sentence: str) -> None:
    package = tmp_path / "pyapp" / "autogaze_web"
    package.mkdir(parents=True)
    monkeypatch.setattr(server, "__file__", str(package / "server.py"))
    if where == "checkout":
        (tmp_path / "Makefile").touch()
    with pytest.raises(MissingError, match=sentence):
        server.page_folder()


@pytest.mark.parametrize("place", ["pyapp/autogaze_web/page", "web/dist"])
def test_the_page_is_found_in_a_wheel_and_in_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    (tmp_path / "pyapp" / "autogaze_web").mkdir(parents=True)
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "build.json").touch()
    monkeypatch.setattr(server, "__file__", str(tmp_path / "pyapp" / "autogaze_web" / "server.py"))
    assert server.page_folder() == tmp_path / place


def test_a_port_is_free_again_right_after(folder: Path) -> None:
    with serving(folder, "--port", "0") as (process, address):
        port = int(address.removeprefix("http://127.0.0.1:").removesuffix("/"))
        with socket.create_connection(("127.0.0.1", port)):
            process.send_signal(signal.SIGINT)
            process.wait(10)
    server.listen(port).close()
