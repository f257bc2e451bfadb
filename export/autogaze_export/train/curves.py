"""The log of a training run as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from statistics import fmean

from PIL import Image, ImageDraw, ImageFont

SHOWN = (("cross_entropy", "cross-entropy"), ("regret", "regret"), ("loss_error", "stop head error"))
SIZE, MARGIN, GAP = (920, 300), 46, 34  # pixels
SMOOTH = 9  # entries that a line's point is the mean of
INK, PALE, GROUND = (40, 44, 52), (205, 210, 218), (255, 255, 255)
LINES = ((0, 105, 180), (200, 90, 0), (0, 130, 80))


def curves(log: Sequence[dict[str, float]]) -> bytes:
    """A PNG with one small chart a number; the pale dots are single rounds, the line is their running mean."""
    picture = Image.new("RGB", SIZE, GROUND)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
    wide = (SIZE[0] - MARGIN - len(SHOWN) * GAP) // len(SHOWN)
    for number, (name, title) in enumerate(SHOWN):
        left = MARGIN + number * (wide + GAP)
        points = [(entry["round"], entry[name]) for entry in log if name in entry]
        chart(draw, font, (left, MARGIN, left + wide, SIZE[1] - MARGIN), points, title, LINES[number])
    data = io.BytesIO()
    picture.quantize(32).save(data, "PNG", optimize=True)
    return data.getvalue()


def chart(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    box: tuple[int, int, int, int],
    points: Sequence[tuple[float, float]],
    title: str,
    colour: tuple[int, int, int],
) -> None:
    left, top, right, bottom = box
    draw.text((left, top - 24), title, fill=INK, font=font)
    draw.rectangle(box, outline=PALE)
    if not points:
        return
    values = sorted(value for _, value in points)
    low, high = values[0], values[min(len(values) - 1, len(values) * 49 // 50)]  # the first few are off the scale
    low, high = low - 0.05 * (high - low), high + 0.05 * (high - low) or 1.0
    last = max(round_ for round_, _ in points) or 1

    def at(round_: float, value: float) -> tuple[float, float]:
        share = min(1.0, max(0.0, (value - low) / ((high - low) or 1.0)))
        return left + (right - left) * round_ / last, bottom - (bottom - top) * share

    for round_, value in points:
        x, y = at(round_, value)
        draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=PALE)
    near = [points[max(0, i - SMOOTH // 2) : i + SMOOTH // 2 + 1] for i in range(len(points))]
    draw.line([at(point[0], fmean(value for _, value in part)) for point, part in zip(points, near, strict=True)], fill=colour, width=2)
    for value in (low, (low + high) / 2, high):
        x, y = at(0, value)
        draw.text((x - 4, y), f"{value:.2f}", fill=INK, font=font, anchor="rm")
    for round_ in (0, last):
        draw.text((at(round_, low)[0], bottom + 6), f"{round_:g}", fill=INK, font=font, anchor="ma")
    draw.text(((left + right) / 2, bottom + 6), "rounds", fill=INK, font=font, anchor="ma")
