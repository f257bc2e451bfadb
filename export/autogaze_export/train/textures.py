"""Procedural still pictures with the statistics of real ones: 1/f noise, gradients, dead leaves, line drawings and glyph-like detail."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from autogaze_export.train.capture import Fused

LEAVES = 72  # shapes on a picture, at most
PANELS = 5  # parts of a picture that come from others, at most
GLYPH = (7, 5)  # rows, columns of a glyph's bitmap
PAGE = (14, 22)  # rows, columns of glyphs on a page


class Dice:
    """Seeded chance on a device: equal seeds give equal clips on the same device and version."""

    def __init__(self, seed: int, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def uniform(self, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.generator, device=self.device)

    def log_uniform(self, shape: tuple[int, ...], low: float, high: float) -> Tensor:
        return self.uniform(shape, math.log(low), math.log(high)).exp()

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=self.device)

    def chance(self, shape: tuple[int, ...], probability: float) -> Tensor:
        return self.uniform(shape) < probability

    def below(self, shape: tuple[int, ...], end: int) -> Tensor:
        return torch.randint(end, shape, generator=self.generator, device=self.device)


def textures(dice: Dice, count: int, size: int) -> Tensor:
    """Pictures float32 [count, 3, size, size], 0…1."""
    picture = ground(dice, count, size)
    picture = dead_leaves(dice, picture)
    picture = written(dice, picture).clamp(0, 1)
    return panelled(dice, picture)


def coloured(dice: Dice, count: int) -> Tensor:
    """Colours [count, 3, 1, 1] of any saturation."""
    colour = dice.uniform((count, 3, 1, 1))
    return torch.lerp(colour[:, :1].expand_as(colour), colour, dice.uniform((count, 1, 1, 1)))


def ground(dice: Dice, count: int, size: int) -> Tensor:
    """A flat colour (often near black or white), a gradient, or 1/f noise."""
    one = (count, 1, 1, 1)
    colour = coloured(dice, count)
    extreme = torch.where(dice.chance(one, 0.5), dice.uniform(one, 0.85, 1.0), dice.uniform(one, 0.0, 0.12))
    colour = torch.where(dice.chance(one, 0.4), extreme.expand_as(colour), colour)
    slope = dice.normal((count, 3, 2)) * 0.35 * dice.chance((count, 1, 1), 0.6)
    slope = torch.lerp(slope.mean(1, keepdim=True).expand_as(slope), slope, dice.uniform((count, 1, 1)))
    line = torch.linspace(-1, 1, size, device=dice.device)
    picture = colour + slope[:, :, :1, None] * line[:, None] + slope[:, :, 1:, None] * line
    noise = pink_noise(dice, count, size)
    return picture + noise * dice.log_uniform(one, 0.02, 0.35) * dice.chance(one, 0.6)


def pink_noise(dice: Dice, count: int, size: int) -> Tensor:
    """Noise whose amplitude falls as a power of frequency, mostly grey: [count, 3, size, size], standard deviation about 1."""
    spectrum = torch.fft.rfft2(dice.normal((count, 3, size, size)))
    rows, columns = torch.fft.fftfreq(size, device=dice.device), torch.fft.rfftfreq(size, device=dice.device)
    frequency = (rows[:, None] ** 2 + columns**2).sqrt().clamp(min=1 / size)
    noise: Tensor = torch.fft.irfft2(spectrum * frequency ** -dice.uniform((count, 1, 1, 1), 0.7, 2.2), s=(size, size))
    noise = noise / noise.std(dim=(2, 3), keepdim=True)
    grey = dice.uniform((count, 1, 1, 1), 0.5, 1.0)
    return grey * noise[:, :1] + (1 - grey) * noise


def dead_leaves(dice: Dice, picture: Tensor) -> Tensor:
    """Opaque ellipses, boxes, rings and lines of power-law sizes, one over the other; from none to LEAVES of them."""
    count, _, size, _ = picture.shape
    one = (LEAVES, count, 1, 1, 1)
    few, many = dice.log_uniform(one[1:], 1, LEAVES), dice.uniform(one[1:], 0.5 * LEAVES, LEAVES)
    leaves = torch.where(dice.chance(one[1:], 0.4), many, few) * dice.chance(one[1:], 0.85)
    fine = dice.chance(one[1:], 0.4)  # pictures of small shapes
    crowd = dice.log_uniform(one[1:], 1.0, 3.5) ** dice.chance(one[1:], 0.4).float()  # pictures with no ground to be seen
    radius = 0.012 * dice.uniform(one, 0.003, 1.0) ** -0.6
    radius = (torch.where(fine, radius * 0.6, radius * 1.8) * crowd).clamp(0.012, 0.8)
    stretch = dice.log_uniform(one, 1.0, 12.0) ** dice.chance(one, 0.4).float()
    angle = dice.uniform(one, 0, math.pi) * dice.chance(one, 0.5)
    place = dice.uniform((2, *one), -1, 1)
    box = dice.chance(one, 0.5)
    ring = dice.chance(one, 0.15) * dice.uniform(one, 0.6, 0.9)  # 0: filled
    edge = radius * size * dice.log_uniform(one, 0.15, 1.5)
    colour = coloured(dice, LEAVES * count).reshape(LEAVES, count, 3, 1, 1) ** dice.log_uniform(one, 0.4, 2.5)
    shade = dice.normal(one) * 0.15 * dice.chance(one, 0.4)
    drawn = (torch.arange(LEAVES, device=dice.device).reshape(-1, 1, 1, 1, 1) < leaves).float()
    line = torch.linspace(-1, 1, size, device=dice.device)
    for leaf in zip(place[0], place[1], radius, stretch, angle, box, ring, edge, colour, shade, drawn, strict=True):
        picture = with_leaf(picture, line, *leaf)
    return picture


@Fused
def with_leaf(
    picture: Tensor,  # [count, 3, size, size]
    line: Tensor,  # [size]
    x: Tensor,  # this and what follows: [count, 1, 1, 1], but colour [count, 3, 1, 1]
    y: Tensor,
    radius: Tensor,
    stretch: Tensor,
    angle: Tensor,
    box: Tensor,
    ring: Tensor,
    edge: Tensor,
    colour: Tensor,
    shade: Tensor,
    drawn: Tensor,
) -> Tensor:
    """The pictures with one more shape on each."""
    x, y = line[None, :] - x, line[:, None] - y
    along = (x * angle.cos() + y * angle.sin()) / (radius * stretch)
    across = (y * angle.cos() - x * angle.sin()) / radius
    distance = torch.where(box, torch.maximum(along.abs(), across.abs()), (along**2 + across**2).sqrt())
    alpha = ((1 - distance) * edge).clamp(0, 1) * ((distance - ring) * edge + (ring == 0)).clamp(0, 1) * drawn
    return torch.lerp(picture, colour + shade * across.clamp(-1, 1), alpha)


def written(dice: Dice, picture: Tensor) -> Tensor:
    """On half of the pictures a panel with lines of glyphs, of a random size, place and contrast."""
    count, _, size, _ = picture.shape
    (rows, columns), (high, wide) = PAGE, GLYPH
    bits = dice.chance((count, rows, columns, high, wide), 0.5).float()
    bits = bits * dice.chance((count, rows, columns, 1, 1), 0.85)  # blanks between words
    bits = bits * (torch.arange(columns, device=dice.device) < dice.uniform((count, rows, 1), 0, columns))[..., None, None]
    page = F.pad(bits, (0, 1, 0, 3)).permute(0, 1, 3, 2, 4).flatten(3).flatten(1, 2)[:, None]  # [count, 1, rows·10, columns·6]
    line = torch.linspace(-1, 1, size, device=dice.device)
    zoom = dice.log_uniform((count, 2, 1), 0.35, 3.0)
    zoom = zoom[:, :1] * dice.uniform((count, 2, 1), 0.8, 1.2)
    centre = dice.uniform((count, 2, 1), -0.6, 0.6)
    places = ((line - centre) * zoom)[..., None]  # [count, 2, size, 1]
    grid = torch.stack([places[:, 0].transpose(1, 2).expand(-1, size, -1), places[:, 1].expand(-1, -1, size)], dim=-1)
    ink = F.grid_sample(page, grid, align_corners=False)  # [count, 1, size, size]
    panel = (grid.abs().amax(-1) < 1.05)[:, None].float() * dice.chance((count, 1, 1, 1), 0.6)
    shade = (dice.uniform((count, 1, 1, 1)) + dice.normal((count, 3, 1, 1)) * 0.15).clamp(0, 1)
    shade = torch.where(dice.chance((count, 1, 1, 1), 0.5), shade.round(), shade)
    letters = (shade + torch.where(shade.mean(1, keepdim=True) < 0.5, 1.0, -1.0) * dice.uniform((count, 3, 1, 1), 0.2, 1.0)).clamp(0, 1)
    used = dice.chance((count, 1, 1, 1), 0.5)
    picture = torch.lerp(picture, shade, panel * used)
    return torch.lerp(picture, letters, ink * used)


def panelled(dice: Dice, picture: Tensor) -> Tensor:
    """On half of the pictures boxes that show other pictures, mostly smaller: screens, posters, windows, busy parts beside flat ones."""
    count, _, size, _ = picture.shape
    source, line = picture, torch.linspace(-1, 1, size, device=dice.device)
    panels = dice.uniform((count, 1, 1, 1), 1, PANELS + 1) * dice.chance((count, 1, 1, 1), 0.5)
    for panel in range(PANELS):
        centre, reach = dice.uniform((count, 2, 1), -1, 1), dice.log_uniform((count, 2, 1), 0.08, 0.9)
        zoom, look = dice.log_uniform((count, 1, 1), 0.7, 3.0), dice.uniform((count, 2, 1), -1, 1)
        x, y = ((line - centre) * zoom + look).unbind(1)  # [count, size]
        grid = torch.stack([x[:, None].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], dim=-1)
        other = F.grid_sample(source.roll(panel + 1, 0), grid, padding_mode="reflection", align_corners=False)
        inside = (line - centre).abs() < reach  # [count, 2, size]
        box = (inside[:, 0, None] & inside[:, 1, :, None])[:, None]
        picture = torch.where(box & (panel + 1 <= panels), other, picture)
    return picture
