"""Write the small clips of playwright/clips/: one for each feature or fault of a video file, named after it.

`python playwright/make_clips.py` writes them all; encoders may change their bytes, so they are committed.
"""

from __future__ import annotations

import io
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

CLIPS = Path(__file__).parent / "clips"
FPS = 25
_MATRICES = {  # of a track header: 16.16 fixed point, but for the last column
    "rotated_90": (0, 1, -1, 0),
    "rotated_180": (-1, 0, 0, -1),
    "rotated_270": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
}
X264 = {"preset": "medium", "crf": "28", "bf": "3", "g": "12", "x264-params": "scenecut=0:threads=1"}
AV1 = {"preset": "8", "crf": "40", "g": "16", "svtav1-params": "lp=1"}
VP9 = {"crf": "36", "b": "0", "auto-alt-ref": "1", "lag-in-frames": "16", "g": "24", "threads": "1", "deadline": "good", "cpu-used": "2"}


def moving_pictures(frames: int, width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """RGB pictures [height, width, 3]: drifting stripes, a disc that moves, a number of blocks that count."""
    rows, columns = np.mgrid[:height, :width]
    for index in range(frames):
        red = 128 + 100 * np.sin((columns + 3 * index) / 9)
        green = 128 + 100 * np.sin((rows - 2 * index) / 7)
        disc = (columns - (10 + 5 * index) % width) ** 2 + (rows - height / 2) ** 2 < (height / 5) ** 2
        blue = np.where(disc, 240, 40)
        picture = np.stack([red, green, blue], axis=-1).astype(np.uint8)
        picture[:4, : 4 * (index + 1) % width] = 255
        yield picture


def encode(
    container: str,
    codec: str,
    options: dict[str, str],
    *,
    frames: int = 30,
    size: tuple[int, int] = (96, 64),
    pixel_format: str = "yuv420p",
    times: Callable[[int], float] = lambda index: index / FPS,
    colour: tuple[int, int] | None = None,
    clock: int = 1000,
    muxer: dict[str, str] | None = None,
    keep: Callable[[av.Packet[Any]], bool] = lambda packet: True,
) -> bytes:
    """A whole file. `colour` is (matrix, range) in FFmpeg's numbers; `keep` chooses packets."""
    path = Path(tempfile.mkdtemp()) / "clip"  # the "faststart" muxer reads its own file again
    with av.open(path, "w", format=container, options=muxer or {}) as output:
        stream: Any = output.add_stream(codec, rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, pixel_format
        stream.codec_context.time_base = Fraction(1, clock)
        if colour:
            stream.codec_context.colorspace, stream.codec_context.color_range = colour
        for index, picture in enumerate(moving_pictures(frames, *size)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixel_format)
            if pixel_format == "yuva420p":
                _fade(frame)
            frame.pts, frame.time_base = round(clock * times(index)), Fraction(1, clock)
            output.mux([packet for packet in stream.encode(frame) if keep(packet)])
        output.mux([packet for packet in stream.encode(None) if keep(packet)])
        output.start_encoding()  # a header also where no packet was kept
    data = path.read_bytes()
    shutil.rmtree(path.parent)
    return data


def _fade(frame: av.VideoFrame) -> None:
    """Alpha from transparent at the left to opaque at the right."""
    plane = frame.planes[3]
    row = np.linspace(0, 255, plane.line_size).astype(np.uint8)
    plane.update(np.tile(row, (plane.height, 1)).tobytes())


def sound(container: str, codec: str, cover: bool = False) -> bytes:
    """Half a second of a tone, perhaps with cover art, which FFmpeg shows as a video track."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=48000, layout="mono")
        if cover:
            output.add_attachment("cover.png", "image/png", _png(next(moving_pictures(1, 32, 32))))
        tone = (8000 * np.sin(np.arange(24000) / 16)).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        frame.sample_rate = 48000
        for packet in stream.encode(frame) + stream.encode(None):
            output.mux(packet)
    return buffer.getvalue()


def _png(picture: NDArray[np.uint8]) -> bytes:
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = picture.shape[1], picture.shape[0], "rgb24"
    encoder.time_base = Fraction(1, 1)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def with_matrix(mp4: bytes, name: str) -> bytes:
    """The same MP4 with another matrix in its track header (version 0: the matrix is 48 bytes into the box)."""
    a, b, c, d = (value << 16 for value in _MATRICES[name])
    place = mp4.index(b"tkhd") - 4 + 48
    return mp4[:place] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + mp4[place + 36 :]


def with_edit(mp4: bytes, skip: int = 0, drop: int = 0) -> bytes:
    """The same MP4 with an edit list that cuts so many frames off at the start and the end (version 0, one entry)."""
    place = mp4.index(b"elst") + 4
    flags, entries, duration, start, rate = struct.unpack(">5i", mp4[place : place + 20])
    assert (flags, entries) == (0, 1), (flags, entries)
    mdhd = mp4.index(b"mdhd") + 4
    timescale = struct.unpack(">i", mp4[mdhd + 12 : mdhd + 16])[0]
    mvhd = mp4.index(b"mvhd") + 4
    movie_timescale = struct.unpack(">i", mp4[mvhd + 12 : mvhd + 16])[0]
    start += skip * timescale // FPS
    duration -= (skip + drop) * movie_timescale // FPS
    return mp4[:place] + struct.pack(">5i", flags, entries, duration, start, rate) + mp4[place + 20 :]


def without_reorder_hint(mp4: bytes) -> bytes:
    """The same H.264 without the last part of its header (VUI bitstream restriction), which says how far frames are reordered."""
    place = mp4.index(b"avcC") + 4 + 6  # SPS length, SPS
    length = struct.unpack(">H", mp4[place : place + 2])[0]
    sps = mp4[place + 2 : place + 2 + length]
    bits = "".join(f"{byte:08b}" for byte in sps).rstrip("0")
    hints = ("1111" + 2 * _golomb(reach) + _golomb(ahead) + _golomb(kept) + "1" for reach, ahead, kept in np.ndindex(20, 5, 17))
    hint = next(hint for hint in hints if bits.endswith(hint))
    bits = (bits[: -len(hint)] + "01").ljust(8 * length, "0")
    return mp4[: place + 2] + int(bits, 2).to_bytes(length, "big") + mp4[place + 2 + length :]


def _golomb(number: int) -> str:
    digits = f"{number + 1:b}"
    return "0" * (len(digits) - 1) + digits


def with_damage(data: bytes, start: float, length: int) -> bytes:
    """The same bytes with a stretch overwritten."""
    place = round(len(data) * start)
    return data[:place] + bytes((37 * i + 11) & 255 for i in range(length)) + data[place + length :]


def features() -> Iterator[tuple[str, bytes]]:
    """Clips that every browser with these codecs must show exactly."""
    two_speeds = [index / FPS if index < 15 else 0.6 + (index - 15) / 8 for index in range(30)]
    h264 = encode("mp4", "libx264", X264)
    yield "h264_b_frames.mp4", h264
    yield "h264_no_reorder_hint.mp4", without_reorder_hint(h264)
    yield "h264_one_frame.mp4", encode("mp4", "libx264", X264, frames=1)
    yield "h264_odd_126x94.mp4", encode("mp4", "libx264", X264, size=(126, 94))
    yield "h264_variable_frame_rate.mp4", encode("mp4", "libx264", X264, times=two_speeds.__getitem__)
    yield "h264_fragments.mp4", encode("mp4", "libx264", X264, muxer={"movflags": "frag_keyframe+empty_moov+default_base_moof"})
    yield "h264_open_gop.mkv", encode("matroska", "libx264", X264 | {"x264-params": "open-gop=1:keyint=8:scenecut=0:threads=1"})
    yield "h264_bt470bg.mp4", encode("mp4", "libx264", X264, frames=4, colour=(5, 1))
    yield "h264_bt709_full_range.mp4", encode("mp4", "libx264", X264, frames=4, colour=(1, 2))
    yield "h264_444.mp4", encode("mp4", "libx264", X264, frames=6, pixel_format="yuv444p")
    yield "h264_422.mp4", encode("mp4", "libx264", X264, frames=6, pixel_format="yuv422p")
    yield "h264_stream.ts", encode("mpegts", "libx264", X264, frames=16)
    for name in _MATRICES:
        yield f"h264_{name}.mp4", with_matrix(encode("mp4", "libx264", X264, frames=6), name)
    yield "h264_edit_list_start.mp4", with_edit(h264, skip=5)
    yield "h264_edit_list_both_ends.mp4", with_edit(h264, skip=5, drop=7)
    yield "vp9_alternate_references.webm", encode("webm", "libvpx-vp9", VP9, frames=50)
    yield "vp9_odd_127x95.webm", encode("webm", "libvpx-vp9", VP9, size=(127, 95))
    yield "vp9_late_start.webm", encode("webm", "libvpx-vp9", VP9, times=lambda index: 5 + index / FPS)
    yield "vp9_444.webm", encode("webm", "libvpx-vp9", VP9, frames=6, pixel_format="yuv444p")
    yield "av1_10_bit.webm", encode("webm", "libsvtav1", AV1, frames=6, pixel_format="yuv420p10le")
    yield "vp9_transparent.webm", encode("webm", "libvpx-vp9", VP9 | {"auto-alt-ref": "0"}, frames=12, pixel_format="yuva420p")
    yield "vp8_alternate_references.webm", encode("webm", "libvpx", {**VP9, "b": "60000", "crf": "20"}, frames=50)
    yield "av1.webm", encode("webm", "libsvtav1", AV1, frames=24)
    yield "av1.mp4", encode("mp4", "libsvtav1", AV1, frames=8)


def faults() -> Iterator[tuple[str, bytes]]:
    """Files that cannot be shown, or not whole."""
    small: dict[str, Any] = {"frames": 4, "size": (64, 48)}
    plain = {"qscale": "8"}
    yield "codec_mpeg4_part_2.mp4", encode("mp4", "mpeg4", plain, **small)
    yield "codec_mpeg4_part_2.mkv", encode("matroska", "mpeg4", plain, **small)
    yield "codec_hevc.mp4", encode("mp4", "libx265", {"x265-params": "log-level=none"}, **small)
    yield "codec_prores.mov", encode("mov", "prores_ks", {"profile": "0"}, frames=1, size=(64, 48), pixel_format="yuv422p10le")
    yield "codec_mpeg2.mkv", encode("matroska", "mpeg2video", plain, clock=FPS, **small)
    yield "codec_mpeg2.ts", encode("mpegts", "mpeg2video", plain, clock=FPS, **small)
    yield "codec_motion_jpeg.mov", encode("mov", "mjpeg", plain, frames=2, size=(64, 48), pixel_format="yuvj420p")
    yield "codec_ffv1.mkv", encode("matroska", "ffv1", {}, frames=1, size=(64, 48))
    yield "container_avi.avi", encode("avi", "mpeg4", plain, **small)
    yield "container_flv.flv", encode("flv", "flv", plain, **small)
    yield "container_wmv.wmv", encode("asf", "wmv2", plain, **small)
    yield "container_mpg.mpg", encode("mpeg", "mpeg2video", plain, clock=FPS, **small)
    yield "audio_only.m4a", sound("ipod", "aac")
    yield "audio_only_with_cover.mka", sound("matroska", "libopus", cover=True)
    yield "audio_only.mp3", sound("mp3", "libmp3lame")
    yield "audio_only.webm", sound("webm", "libopus")
    yield "audio_only.ogg", sound("ogg", "libopus")

    index_last, index_first = encode("mp4", "libx264", X264), encode("mp4", "libx264", X264, muxer={"movflags": "faststart"})
    webm = encode("webm", "libvpx-vp9", VP9 | {"g": "8"})
    yield "cut_off_without_index.mp4", index_last[: len(index_last) // 2]
    yield "cut_off_after_index.mp4", index_first[: len(index_first) * 2 // 3]
    yield "cut_off_before_first_frame.mp4", index_first[: index_first.index(b"mdat") + 8]
    yield "cut_off.webm", webm[: len(webm) * 2 // 3]
    yield "cut_off_before_first_frame.webm", webm[: webm.index(b"\x1f\x43\xb6\x75")]
    yield "no_key_frame.webm", encode("webm", "libvpx-vp9", VP9, frames=12, keep=lambda packet: not packet.is_keyframe)
    yield "no_key_frame.mp4", encode("mp4", "libx264", X264, frames=10, keep=lambda packet: not packet.is_keyframe)
    yield "no_key_frame_at_first.webm", encode("webm", "libvpx-vp9", VP9 | {"g": "8"}, frames=24, keep=lambda packet: bool(packet.pts))
    header_only = {"movflags": "empty_moov"}
    yield "zero_frames.mp4", encode("mp4", "libx264", X264, muxer=header_only, keep=lambda packet: False)
    yield "no_tracks.mp4", encode("mp4", "libx264", X264, keep=lambda packet: False)
    yield "zero_frames.webm", encode("webm", "libvpx-vp9", VP9, keep=lambda packet: False)
    media = index_last.index(b"mdat")
    yield "damaged_middle.mp4", with_damage(index_last, (media + (len(index_last) - media) * 0.25) / len(index_last), 300)
    yield "damaged_middle.webm", with_damage(webm, 0.5, 200)
    yield "damaged_throughout.webm", with_damage(webm, (webm.index(b"\x1f\x43\xb6\x75") + 40) / len(webm), len(webm) // 2)
    yield "text.mp4", b"This is a shopping list, not a video: milk, bread, two lemons.\n" * 3
    yield "picture.mp4", b"\x89PNG\r\n\x1a\n" + bytes(64)
    yield "noise.mp4", bytes((i * i * 31 + 7 * i + 200) & 255 for i in range(600))


def main() -> int:
    """Write every clip whose name contains the words given, or all of them."""
    CLIPS.mkdir(exist_ok=True)
    words = sys.argv[1:]
    total = 0
    for source in (features(), faults()):
        for name, data in source:
            if not words or any(word in name for word in words):
                (CLIPS / name).write_bytes(data)
                total += len(data)
                print(f"{len(data):8,} {name}", file=sys.stderr)
    print(f"{total:8,} bytes in all", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
