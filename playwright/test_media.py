"""The worker's media modules in a real browser: what is decoded equals the command line's reader, every fault has its sentence, every
product is read back by someone else's reader.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import io
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
import pytest
from conftest import ROOT
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from playwright.sync_api import Browser

from autogaze_web.colour import full_range_of, matrix_of
from autogaze_web.planes import Orientation
from autogaze_web.server import HEADERS
from autogaze_web.video import open_video

CLIPS = ROOT / "playwright" / "clips"
FAULTS = ("audio_", "codec_", "container_", "cut_off", "damaged_", "no_key_frame", "no_tracks", "noise", "picture", "text", "zero_")
CONVERTED = {"av1_10_bit.webm", "vp9_transparent.webm"}  # the browser makes RGB of these
EXACT = sorted(path.name for path in CLIPS.iterdir() if not path.name.startswith(FAULTS) and path.name not in CONVERTED)
CONVERSION_TOLERANCE = 4  # of 255: one piece of software interpolates chroma, the other does not
PAGE = b"""<!doctype html><title>media</title><script type="module" src="page.js"></script>"""
LINK = b"""
const worker = new Worker("worker.js", { type: "module" });
const waiting = new Map();
worker.onmessage = ({ data }) => waiting.get(data.id)(data);
worker.onerror = (event) => console.error(`worker: ${event.message}`);
globalThis.ask = (call, args) => new Promise((resolve) => {
  waiting.set(waiting.size, resolve);
  worker.postMessage({ call, args, id: waiting.size - 1 });
});
"""


class Ask(Protocol):
    def __call__(self, call: str, **arguments: Any) -> Any: ...


class FaultTold(Exception):
    """An error of the worker; `card` where it is for a person."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['name']}: {error['message']}")
        self.name, self.card = error["name"], error.get("card")


class _Handler(http.server.SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        for name, value in HEADERS.items():  # the page's own policy
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def media_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The harness, bundled as the page's worker is, and the clips."""
    folder = tmp_path_factory.mktemp("media")
    subprocess.run(["make", "--silent", "web/node_modules/.ready"], cwd=ROOT, check=True)
    bundler = [str(ROOT / "web/node_modules/.bin/esbuild"), str(ROOT / "playwright/media_harness.js"), "--bundle", "--format=esm"]
    subprocess.run([*bundler, "--log-level=warning", f"--outfile={folder / 'worker.js'}"], check=True)
    (folder / "index.html").write_bytes(PAGE)
    (folder / "page.js").write_bytes(LINK)
    (folder / "favicon.ico").touch()
    (folder / "clips").symlink_to(CLIPS)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def ask(browser: Browser, media_site: str) -> Iterator[Ask]:
    """Call a function of the harness in its worker. Nothing may be complained of on the console meanwhile."""
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{media_site}/index.html", wait_until="networkidle")

    def ask(call: str, **arguments: Any) -> Any:
        answer = page.evaluate("([call, args]) => ask(call, args)", [call, arguments])
        if "error" in answer:
            raise FaultTold(answer["error"])
        return answer["value"]

    yield ask
    page.close()
    assert complaints == []


def decoded(ask: Ask, name: str, **options: Any) -> Any:
    return ask("decode", url=f"clips/{name}", name=name, **options)


def digest(planes: tuple[NDArray[np.uint8], ...]) -> str:
    return hashlib.sha256(b"".join(plane.tobytes() for plane in planes)).hexdigest()


def turned(told: dict[str, Any]) -> Orientation:
    """Rotation clockwise after a mirror image, as the command line's reader says it."""
    shape = {0: (False, False, False), 90: (True, True, False), 180: (False, True, True), 270: (True, False, True)}
    swap, flip_x, flip_y = shape[told["rotation"]]
    mirrored = told["mirrored"]
    return Orientation(swap, flip_x ^ (mirrored and not swap), flip_y ^ (mirrored and swap))


@pytest.mark.parametrize("name", EXACT)
def test_frames_equal_the_native_readers_byte_for_byte(ask: Ask, name: str) -> None:
    told = decoded(ask, name)
    with open_video(CLIPS / name) as video:
        native = list(video.frames())
        assert [told["info"][key] for key in ("codec", "width", "height")] == [video.info.codec, video.info.width, video.info.height]
    assert [frame["index"] for frame in told["frames"]] == [frame.index for frame in native]
    assert [frame["time"] for frame in told["frames"]] == [frame.time_s for frame in native]
    for frame, reference in zip(told["frames"], native, strict=True):
        stored = reference.stored
        assert (frame["format"], frame["width"], frame["height"]) == (stored.format, stored.width, stored.height)
        assert (matrix_of(frame["matrix"]), full_range_of(frame["fullRange"])) == (stored.matrix, stored.full_range)
        assert turned(frame) == stored.orientation
        assert frame["shapes"] == [list(plane.shape) for plane in stored.planes]
        assert frame["sha256"] == digest(stored.planes), f"frame {frame['index']}"
    assert told["info"]["frames"] in (len(native), None)
    assert told["warnings"] == []
    assert told["live"] == 0


@pytest.mark.parametrize("name", sorted(CONVERTED))
def test_formats_that_the_browser_converts(ask: Ask, name: str) -> None:
    told = decoded(ask, name, raw=True)
    with open_video(CLIPS / name) as video:
        native = list(video.frames())
    assert len(told["frames"]) == len(native)
    for frame, reference in zip(told["frames"], native, strict=True):
        assert (frame["format"], frame["time"]) == ("RGBA", reference.time_s)
        mine = np.array(frame["bytes"], np.int16).reshape(frame["height"], -1, 4)
        other = reference.stored.planes[0].astype(np.int16).reshape(frame["height"], -1, 4)
        difference = (mine - other)[..., :3]
        assert np.abs(difference.mean((0, 1))).max() < 1  # so the matrix is the same; another one is off by 3 and more
        assert np.abs(difference).mean() < CONVERSION_TOLERANCE
    (warning,) = told["warnings"]
    assert "converted the colours" in warning
    assert told["live"] == 0


@pytest.mark.parametrize("name", ["vp9_alternate_references.webm", "h264_b_frames.mp4", "h264_open_gop.mkv", "h264_edit_list_start.mp4"])
def test_any_frame_can_be_asked_for_again(ask: Ask, name: str) -> None:
    frames = decoded(ask, name)["frames"]
    last = len(frames) - 1
    order = [last, 0, 7, 8, last // 2, 1, last - 1, 13, 12, last + 1]  # the first one is beyond what has been seen
    told = ask("seek", url=f"clips/{name}", indices=order)
    assert told["found"] == [frames[index] if index <= last else None for index in order]
    assert told["live"] == 0


def test_two_streams_of_a_video_do_not_disturb_each_other(ask: Ask) -> None:
    frames = decoded(ask, "h264_b_frames.mp4")["frames"]
    told = ask("together", url="clips/h264_b_frames.mp4")
    assert told["found"] == [frames[index] for i in range(8) for index in (i, i >> 1)]
    assert told["live"] == 0


@pytest.mark.parametrize("name", ["vp9_alternate_references.webm", "h264_b_frames.mp4", "vp9_transparent.webm"])
def test_no_frame_stays_open_however_a_stream_ends(ask: Ask, name: str) -> None:
    assert ask("abandon", url=f"clips/{name}", times=30) == 0


@pytest.mark.parametrize("name", ["vp9_alternate_references.webm", "h264_b_frames.mp4", "av1.webm"])
def test_a_slow_reader_holds_the_decoder_back(ask: Ask, name: str) -> None:
    assert decoded(ask, name, slow=20)["most"] <= 8


FAULT_CARDS = {  # by clip: kind, words of the sentence
    "codec_mpeg4_part_2.mp4": ("codec", "MPEG-4 part 2"),
    "codec_mpeg4_part_2.mkv": ("codec", "MPEG-4 part 2"),
    "codec_hevc.mp4": ("codec", "HEVC"),
    "codec_prores.mov": ("codec", "ProRes"),
    "codec_mpeg2.mkv": ("codec", "MPEG-2"),
    "codec_mpeg2.ts": ("codec", "could not be named"),
    "codec_motion_jpeg.mov": ("codec", "Motion JPEG"),
    "codec_ffv1.mkv": ("codec", "FFV1"),
    "container_avi.avi": ("container", "AVI"),
    "container_flv.flv": ("container", "Flash Video"),
    "container_wmv.wmv": ("container", "Windows Media"),
    "container_mpg.mpg": ("container", "MPEG program stream"),
    "audio_only.m4a": ("audio-only", "only audio (AAC)"),
    "audio_only.mp3": ("audio-only", "only audio (MP3)"),
    "audio_only.webm": ("audio-only", "only audio (Opus)"),
    "audio_only.ogg": ("audio-only", "only audio (Opus)"),
    "audio_only_with_cover.mka": ("audio-only", "only audio (Opus)"),
    "cut_off_without_index.mp4": ("truncated", "without a readable index"),
    "cut_off_before_first_frame.mp4": ("truncated", "ends before its first frame"),
    "cut_off_before_first_frame.webm": ("truncated", "ends before its first frame"),
    "no_key_frame.mp4": ("no-key-frame", "without a single key frame"),
    "no_key_frame.webm": ("no-key-frame", "without a single key frame"),
    "no_tracks.mp4": ("empty", "no video track that can be recognised"),
    "zero_frames.mp4": ("empty", "the track holds no frame"),
    "zero_frames.webm": ("empty", "the track holds no frame"),
    "damaged_throughout.webm": ("damaged", "none of it can be decoded"),
    "text.mp4": ("not-video", "is text, whatever its name says"),
    "picture.mp4": ("not-video", "is a PNG picture"),
    "noise.mp4": ("not-video", "matches no format"),
}


@pytest.mark.parametrize("name", FAULT_CARDS)
def test_each_fault_has_its_own_card(ask: Ask, name: str) -> None:
    kind, words = FAULT_CARDS[name]
    with pytest.raises(FaultTold) as told:
        decoded(ask, name)
    assert told.value.name == "VideoFault"
    card = told.value.card
    assert card["kind"] == kind
    assert words in card["found"] and name in card["found"]
    assert card["title"].endswith(".") and card["attempt"].strip()
    assert kind != "codec" or "ffmpeg -i" in card["attempt"] or "protected" in card["title"]


def test_every_clip_is_held_to_something() -> None:
    told = {"cut_off.webm", "cut_off_after_index.mp4", "damaged_middle.mp4", "damaged_middle.webm", "no_key_frame_at_first.webm"}
    assert {path.name for path in CLIPS.iterdir()} == {*EXACT, *CONVERTED, *FAULT_CARDS, *told}
    assert sum(path.stat().st_size for path in CLIPS.iterdir()) < 400_000


def native_frames(name: str) -> list[str]:
    with open_video(CLIPS / name) as video:
        return [digest(frame.stored.planes) for frame in video.frames()]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cut_off_after_index.mp4", "ends early: it announces 1.20 s and holds 0.68 s"),
        ("cut_off.webm", "ends early: it announces 1.20 s and holds 0.72 s"),
        ("no_key_frame_at_first.webm", "begins without a key frame: packets left out at its start: 7"),
    ],
)
def test_what_is_left_of_a_video_is_shown_and_the_rest_told(ask: Ask, name: str, words: str) -> None:
    told = decoded(ask, name)
    assert [frame["sha256"] for frame in told["frames"]] == native_frames(name)
    (warning,) = told["warnings"]
    assert words in warning
    assert told["live"] == 0


@pytest.mark.parametrize("name", ["damaged_middle.mp4", "damaged_middle.webm"])
def test_a_damaged_stretch_is_left_out_and_told(ask: Ask, name: str) -> None:
    told = decoded(ask, name)
    found = [frame["sha256"] for frame in told["frames"]]
    assert found[:3] == native_frames(name)[:3]
    assert 3 < len(found) < 30
    assert "is damaged: packets that could not be decoded" in told["warnings"][0]
    assert [frame["index"] for frame in told["frames"]] == list(range(len(found)))
    assert told["live"] == 0
    again = ask("seek", url=f"clips/{name}", indices=[len(found) - 1, 2])
    assert again["found"] == [told["frames"][-1], told["frames"][2]]


def test_what_no_clip_can_show(ask: Ask) -> None:
    text = list(b"no video")
    cases = [
        ("bytes", {"contents": [], "name": "empty.mp4"}, "empty-file", "0 bytes"),
        ("withoutWebCodecs", {"contents": text, "name": "clip.mp4"}, "no-webcodecs", "no WebCodecs"),
        ("unreadable", {}, "unreadable", "moved.mp4 was moved, changed or deleted"),
    ]
    for call, arguments, kind, words in cases:
        with pytest.raises(FaultTold) as told:
            ask(call, **arguments)
        assert told.value.card["kind"] == kind
        assert words in told.value.card["found"]


def test_names_from_outside_are_made_printable(ask: Ask) -> None:
    with pytest.raises(FaultTold) as told:
        ask("bytes", contents=list(b"text"), name="a\u202eb\n.mp4")
    assert r"a\u{202e}b\u{a}.mp4" in told.value.card["found"]


def panel_pixels(panel: str, index: int, width: int, height: int, transparent: bool = False) -> NDArray[np.uint8]:
    """The harness's panels: RGBA [height, width, 4]."""
    y, x = np.mgrid[:height, :width]
    pixels = np.full((height, width, 4), 255, np.int64)
    if panel == "input":
        pixels[..., 0], pixels[..., 1], pixels[..., 2] = x * 6 + 20 * index & 255, y * 10 & 255, x + y & 255
    elif panel == "mask":
        pixels[:] = np.where((x < width / 2)[..., None], (255, 180, 0, 255), (9, 9, 9, 0) if transparent else (10, 20, 200, 255))
    else:
        pixels[:] = np.where((((x >> 3) + (y >> 3) + index) % 2 == 1)[..., None], (200, 30, 60, 255), (0, 90, 40, 255))
    return pixels.astype(np.uint8)


def gif_frames(data: str) -> tuple[Image.Image, list[NDArray[np.uint8]], list[int]]:
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    frames = [(np.asarray(frame.convert("RGBA")), frame.info["duration"]) for frame in ImageSequence.Iterator(image)]
    return image, [pixels for pixels, _ in frames], [duration for _, duration in frames]


@pytest.mark.parametrize("transparent", [False, True])
def test_gifs_of_few_colours_are_exact(ask: Ask, transparent: bool) -> None:
    told = ask("gifs", source={"frames": 5, "width": 40, "height": 24, "transparent": transparent}, fps=10)
    assert told["done"] == [1, 2, 3, 4, 5]
    for panel in ("mask", "output"):
        image, frames, durations = gif_frames(told[panel])
        assert (image.format, image.size, image.info["loop"], durations) == ("GIF", (40, 24), 0, [100] * 5)
        for index, pixels in enumerate(frames):
            wanted = panel_pixels(panel, index, 40, 24, transparent)
            assert (pixels[..., 3] == wanted[..., 3]).all()
            assert (pixels[wanted[..., 3] == 255] == wanted[wanted[..., 3] == 255]).all()


def test_gifs_of_many_colours_are_close(ask: Ask) -> None:
    told = ask("gifs", source={"frames": 3, "width": 160, "height": 100})
    _, frames, durations = gif_frames(told["input"])
    assert durations == [100] * 3
    for index, pixels in enumerate(frames):
        wanted = panel_pixels("input", index, 160, 100)
        blurred = [np.asarray(Image.fromarray(p).convert("RGB").reduce(4), np.int16) for p in (pixels, wanted)]
        assert np.abs(blurred[0] - blurred[1]).mean() < 4  # dithered: right on average


@pytest.mark.parametrize(("fps", "frames", "delays"), [(30, 6, [30, 40, 30, 30, 40, 30]), (120, 9, [20, 20, 20]), (12.5, 2, [80, 80])])
def test_delays_of_a_gif_add_up(ask: Ask, fps: float, frames: int, delays: list[int]) -> None:
    told = ask("gifs", source={"frames": frames, "fps": fps})
    _, _, durations = gif_frames(told["output"])
    assert abs(sum(durations) - 1000 * frames / fps) < 20  # the shortest delay
    assert durations == delays


def test_gifs_are_scaled_down_as_pillow_does(ask: Ask) -> None:
    told = ask("gifs", source={"frames": 1, "width": 203, "height": 151}, width=64)
    image, (pixels,), _ = gif_frames(told["output"])
    assert image.size == (64, 48)
    wanted = Image.fromarray(panel_pixels("output", 0, 203, 151)).resize((64, 48), Image.Resampling.BILINEAR)
    assert np.abs(pixels.astype(np.int16) - np.asarray(wanted)).mean() < 2  # and a palette


@pytest.mark.parametrize(("width", "height", "transparent"), [(40, 24, False), (61, 35, True), (1000, 601, False)])
def test_the_film_shows_three_panels_at_exact_times(ask: Ask, width: int, height: int, transparent: bool) -> None:
    told = ask("sideBySide", source={"frames": 7, "width": width, "height": height, "fps": 8, "transparent": transparent})
    assert (told["extension"], told["codec"], told["type"]) == ("webm", "vp9", "video/webm")
    assert told["done"] == list(range(1, 8)) and told["live"] == 0
    with av.open(io.BytesIO(base64.b64decode(told["data"]))) as film:
        frames = list(film.decode(video=0))
        assert film.streams.video[0].codec_context.name.endswith("vp9")
        assert film.duration == 875_000  # µs
    assert [round(1000 * (frame.time or 0)) for frame in frames] == [0, 125, 250, 375, 500, 625, 750]
    size = (width, height) if 3 * width + 4 <= 1920 else (638, round(height * 638 / width))
    assert (frames[0].width, frames[0].height) == (-(-(3 * size[0] + 4) // 2) * 2, -(-size[1] // 2) * 2)
    for index, frame in enumerate(frames):
        shown = frame.to_ndarray(format="rgb24").astype(np.int16)
        for place, panel in enumerate(("input", "mask", "output")):
            pixels = Image.fromarray(panel_pixels(panel, index, width, height, transparent)).resize(size, Image.Resampling.BILINEAR)
            wanted = np.asarray(pixels, np.int32)
            wanted = wanted[..., :3] * wanted[..., 3:] // 255
            left = place * (size[0] + 2)
            assert np.abs(shown[: size[1], left : left + size[0]] - wanted).mean() < 12  # chroma has half the size


@pytest.mark.parametrize("alpha", [255, None])
def test_pngs_hold_exactly_the_pixels(ask: Ask, alpha: int | None) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (37, 53, 4), dtype=np.uint8)
    if alpha is not None:
        pixels[..., 3] = alpha
    data = base64.b64decode(ask("png", pixels=pixels.ravel().tolist(), width=53, height=37))
    image = Image.open(io.BytesIO(data))
    image.load()
    assert (image.format, image.mode) == ("PNG", "RGB" if alpha else "RGBA")
    assert (np.asarray(image.convert("RGBA")) == pixels).all()


@pytest.mark.parametrize("kind", ["gif", "film"])
def test_a_download_can_be_stopped(ask: Ask, kind: str) -> None:
    with pytest.raises(FaultTold) as told:
        ask("stopped", kind=kind, after=3)
    assert told.value.name == "AbortError"


@pytest.mark.parametrize("call", ["gifs", "sideBySide"])
def test_nothing_painted_is_nothing_to_save(ask: Ask, call: str) -> None:
    with pytest.raises(FaultTold) as told:
        ask(call, source={"frames": 0})
    assert told.value.card["kind"] == "export"
