"""Read a video file frame by frame (CPython only: PyAV).

Memory does not grow with the length of the video. Non-square pixels are left as they are stored; high dynamic range is not tone-mapped.
"""

from __future__ import annotations

import weakref
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO, Self, cast

import av
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from autogaze_web.errors import VideoError
from autogaze_web.planes import StoredPicture, can_be_transparent, orientation_of, stored_picture

DEFAULT_FPS = 25.0  # what FFmpeg assumes for pictures without a clock
_MAX_FPS = 1000.0  # above this the container names its clock, not a frame rate
# FFmpeg's own VP8 and VP9 decoders drop the alpha plane of WebM; libvpx keeps it.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


@dataclass(frozen=True)
class VideoInfo:
    """What a file says about its video track; sizes are those of the first frame."""

    name: str  # file name without folders, control characters escaped
    codec: str  # FFmpeg's name of the format: "h264", "vp9", "av1"
    width: int  # as displayed, after rotation
    height: int
    rotation: int  # clockwise degrees applied: 0, 90, 180 or 270 (a mirror image, if the file asks for one, comes first)
    fps: float
    frames: int | None  # None: the container does not say
    duration_s: float | None
    has_alpha: bool  # the pixel format can carry transparency


@dataclass
class VideoFrame:
    """One frame: its place among the good frames, seconds since the first one, what was decoded."""

    index: int
    time_s: float
    stored: StoredPicture


@dataclass
class _Track:
    container: av.container.InputContainer
    stream: VideoStream
    decoder: VideoCodecContext
    codec: str
    fps: float


@dataclass
class _Findings:
    """What one pass through a file met, to be told as warnings."""

    frames: int = 0
    damaged: int = 0
    skipped_packets: int = 0
    first_skip: int = 0  # good frames before the first skipped packet
    read_error: str = ""
    end_s: float = 0.0
    missing_s: float = 0.0  # seconds that the file announces and does not have

    def sentences(self, name: str) -> Iterator[str]:
        if self.skipped_packets:
            yield f"{name} is damaged: packets that could not be decoded: {self.skipped_packets} (from frame {self.first_skip} on)."
        if self.damaged:
            yield f"{name} is damaged: frames left out: {self.damaged}."
        if self.read_error:
            yield f"{name} cannot be read beyond frame {self.frames} ({self.read_error}). The file may be cut off."
        elif self.missing_s:
            announced_s = self.end_s + self.missing_s
            yield f"{name} ends early: it announces {announced_s:.2f} s and holds {self.end_s:.2f} s. The file may be cut off."


class VideoReader:
    """A video file, as `open_video` gives it; a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._passes: weakref.WeakSet[Generator[VideoFrame, None, None]] = weakref.WeakSet()
        self.warnings: list[str] = []  # of the latest pass, complete when that pass has ended
        self.info = _probe(path)

    def frames(self, limit: int | None = None, start: int = 0) -> Iterator[VideoFrame]:
        """Decode from the beginning; each call is a pass of its own.

        `start` frames are skipped, then at most `limit` are yielded. Each frame has its own size, which may change in mid-stream.
        Damaged parts are left out and told in `warnings`. Raises VideoError, ValueError (negative numbers).
        """
        if start < 0 or (limit is not None and limit < 0):
            raise ValueError(f"start and limit must not be negative, got start={start}, limit={limit}")
        frames = self._read(start, None if limit is None else start + limit)
        self._passes.add(frames)
        return frames

    def _read(self, start: int, stop: int | None) -> Generator[VideoFrame, None, None]:
        findings = _Findings()
        self.warnings.clear()
        reformatter = VideoReformatter()  # one for the pass: it keeps its scaler
        try:
            with _opened(self._path) as track:
                for index, (time_s, frame) in islice(enumerate(_good_frames(track, findings)), start, stop):
                    yield VideoFrame(index, time_s, stored_picture(frame, reformatter))
        finally:
            self.warnings.extend(findings.sentences(self.info.name))

    def close(self) -> None:
        """End every pass and let go of the file."""
        for frames in list(self._passes):
            frames.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_video(path: str | Path) -> VideoReader:
    """Open a local video file and decode its first frame to learn what it is.

    Whatever the name looks like, it is a file: never an option, a URL or an FFmpeg protocol. Raises VideoError.
    """
    return VideoReader(Path(path))


def _printable_name(path: Path) -> str:
    """The file name for messages: control characters, bidi marks and undecodable bytes as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in path.name or str(path))


def _probe(path: Path) -> VideoInfo:
    name, findings = _printable_name(path), _Findings()
    with _opened(path) as track:
        _, frame = next(_good_frames(track, findings), (0.0, None))
        if frame is None:
            broken = findings.skipped_packets or findings.damaged or findings.read_error
            found = "none of it can be decoded: the file is damaged or cut off" if broken else "the track holds no frame"
            raise VideoError(f"{name} has a video track ({track.codec}), but {found}. Try another copy of the file.")
        orientation = orientation_of(frame)
        width, height = (frame.height, frame.width) if orientation.swap else (frame.width, frame.height)
        return VideoInfo(
            name=name,
            codec=track.codec,
            width=width,
            height=height,
            rotation=orientation.rotation,
            fps=track.fps,
            frames=track.stream.frames or None,
            duration_s=_duration_s(track),
            has_alpha=can_be_transparent(frame),
        )


@contextmanager
def _opened(path: Path) -> Iterator[_Track]:
    name = _printable_name(path)
    with _open_file(path, name) as file, _open_container(file, name) as container:
        stream = _video_stream(container, name)
        codec = stream.codec_context.codec.canonical_name  # "av1", where codec_context.name is "libdav1d"
        yield _Track(container, stream, _decoder(stream, codec), codec, _fps(stream))


def _open_file(path: Path, name: str) -> BinaryIO:
    try:
        if path.is_dir():
            raise VideoError(f"{name} is a folder, not a video. Name a file in it.")
        if path.exists() and not path.is_file():
            raise VideoError(f"{name} is not an ordinary file (a pipe or a device). Save the video to a file first.")
        file = path.open("rb")
        if path.stat().st_size == 0:
            file.close()
            raise VideoError(f"{name} is empty (0 bytes). Copy or download it again.")
        return file
    except FileNotFoundError as error:
        raise VideoError(f"There is no file {name}. Check the spelling and the folder.") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise VideoError(f"{name} cannot be opened: {reason}. Check the path and its permissions.") from error


def _open_container(file: BinaryIO, name: str) -> av.container.InputContainer:
    head = file.read(12)
    file.seek(0)
    nameless = SimpleNamespace(read=file.read, seek=file.seek, tell=file.tell)  # FFmpeg would take meaning from a name
    try:
        return av.open(
            nameless,
            "r",
            metadata_errors="replace",
            container_options={"protocol_whitelist": "none"},  # a playlist must not open other files or addresses
        )
    except EOFError as error:
        raise VideoError(f"{name} ends before its first frame. Copy or download it again.") from error
    except av.FFmpegError as error:
        if head[4:8] == b"ftyp":
            reason = "is an MP4 or MOV file without a readable index: it was probably cut off. Copy, download or record it again."
        else:
            reason = "is not a video: its contents match no format that can be read. Try an MP4, MOV, WebM or MKV file."
        raise VideoError(f"{name} {reason}") from error


def _video_stream(container: av.container.InputContainer, name: str) -> VideoStream:
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    for stream in streams:
        if stream.codec_context is not None:  # None where no decoder is built in, whatever the type says
            return stream
    if streams:
        raise VideoError(f"{name} has a video track in a codec for which there is no decoder. Convert it, for example to H.264 or VP9.")
    audio = [s.codec_context.name if s.codec_context is not None else "unknown codec" for s in container.streams.audio]
    found = f"only audio ({', '.join(audio)})" if audio else "and no audio either"
    raise VideoError(f"{name} has no video track, {found}. Choose a file with moving pictures.")


def _decoder(stream: VideoStream, codec: str) -> VideoCodecContext:
    decoder = _ALPHA_DECODERS.get(codec)
    if stream.metadata.get("alpha_mode") != "1" or decoder not in av.codecs_available:
        return stream.codec_context
    return cast(VideoCodecContext, av.CodecContext.create(decoder, "r"))


def _good_frames(track: _Track, findings: _Findings) -> Iterator[tuple[float, av.VideoFrame]]:
    """Yield (seconds since the first frame, frame) for every frame that decodes without damage."""
    origin: float | None = None
    for frame in _decoded(track, findings):
        if frame.is_corrupt:
            findings.damaged += 1
            continue
        if origin is None:
            origin = frame.time or 0.0
        # AVI and raw streams may have no timestamps
        time_s = findings.frames / track.fps if frame.time is None else frame.time - origin
        shown_s = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 1 / track.fps
        findings.frames += 1
        findings.end_s = max(findings.end_s, time_s + shown_s)
        yield time_s, frame
    _compare_length(track, findings)


def _decoded(track: _Track, findings: _Findings) -> Iterator[av.VideoFrame]:
    try:
        for packet in track.container.demux(track.stream):
            try:
                yield from track.decoder.decode(packet)
            except av.FFmpegError:
                if not findings.skipped_packets:
                    findings.first_skip = findings.frames
                findings.skipped_packets += 1
    except (av.FFmpegError, OSError) as error:
        findings.read_error = error.strerror or type(error).__name__


def _compare_length(track: _Track, findings: _Findings) -> None:
    """Some containers end without an error where they were cut; only the announced length tells."""
    if not track.stream.duration and len(track.container.streams) > 1:
        return  # the container's length may be that of the sound
    missing_s = (_duration_s(track) or 0.0) - findings.end_s
    if missing_s > max(2 / track.fps, 0.05 * findings.end_s):
        findings.missing_s = missing_s


def _fps(stream: VideoStream) -> float:
    rates = (float(rate) for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate) if rate)
    return next((rate for rate in rates if 0 < rate <= _MAX_FPS), DEFAULT_FPS)


def _duration_s(track: _Track) -> float | None:
    if track.stream.duration and track.stream.time_base:
        return float(track.stream.duration * track.stream.time_base)
    return None if track.container.duration is None else track.container.duration / av.time_base
