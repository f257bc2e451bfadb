"""Decoding in a real browser equals the command line's reader, and every fault of a file has its sentence."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from autogaze_web.colour import full_range_of, matrix_of
from autogaze_web.planes import Orientation
from autogaze_web.video import open_video
from media_worker import CLIPS, Ask, FaultTold, ask_worker, serve_media  # noqa: F401 (fixtures)

FAULTS = ("audio_", "codec_", "container_", "cut_off", "damaged_", "no_key_frame", "no_tracks", "noise", "picture", "text", "zero_")
CONVERTED = {"av1_10_bit.webm", "vp9_transparent.webm"}  # the browser makes RGB of these
EXACT = sorted(path.name for path in CLIPS.iterdir() if not path.name.startswith(FAULTS) and path.name not in CONVERTED)
CONVERSION_TOLERANCE = 4  # of 255: one piece of software interpolates chroma, the other does not


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
    """Two that are ready, three that are queued, the reader's, and what a decoder of several threads has in work."""
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
    cases: list[tuple[str, dict[str, Any], str, str]] = [
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
