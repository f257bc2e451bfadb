"""Procedural video, generated in batches on the device: textured layers that move, under a camera, in changing light.

Nothing is downloaded. A clip is a background and a few objects in front of it, cut from the same pictures; every property of their
motion is drawn per clip, and several may come together. KINDS names what the evaluation asks for by itself; "orbit" and "wipe" are
never drawn in training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from autogaze_export.train.capture import Fused
from autogaze_export.train.textures import Dice, textures

KINDS = ("mixed", "still", "cut", "small object", "orbit", "wipe")
OBJECTS = 4  # in a clip, at most
TEXTURE = 1.6  # side of a texture over the side of a frame
MOST_TEXTURES = 96  # of a batch; clips that share one look at other parts of it


@dataclass
class Script:
    """What happens in B clips of T frames; lengths are halves of the frame's side, so that it spans -1 … 1."""

    shift: Tensor  # [B, T, 2]: where the camera looks
    zoom: Tensor  # [B, T]
    turn: Tensor  # [B, T], radians
    place: Tensor  # [B, K, T, 2]: centres of objects
    size: Tensor  # [B, K, T]
    spin: Tensor  # [B, K, T]
    shown: Tensor  # [B, K, T]: opacity
    wobble: Tensor  # [B, K, T]: strength of the deformation
    gain: Tensor  # [B, T]: of all light
    other: Tensor  # [B, T]: share of the clip's second scene, from 0 to 1
    edge: Tensor  # [B, T]: where a wipe has come to; -2 before, 2 after


def clips(dice: Dice, count: int, frames: int, side: int, kind: str = "mixed") -> Tensor:
    """Video uint8 [count, frames, 3, side, side]."""
    pictures = textures(dice, min(max(count // 2, 2), MOST_TEXTURES), round(side * TEXTURE))
    script = written_script(dice, count, frames, kind)
    cast = Cast(dice, pictures, count, kind)
    finish = Finish(dice, count, frames, side, plain=kind != "mixed")
    found = []
    for t in range(frames):
        frame = cast.frame(script, t, side)
        second = frame.roll(1, 0)  # the scene of the row before
        swept = torch.linspace(-1, 1, side, device=dice.device) < script.edge[:, t, None]
        share = torch.maximum(script.other[:, t, None], swept.float())[:, None, None]  # [B, 1, 1, side]
        frame = torch.lerp(frame, second, share) * script.gain[:, t, None, None, None]
        found.append((finish.frame(frame, t) * 255).round().clamp(0, 255).to(torch.uint8))
    return torch.stack(found, dim=1)


def written_script(dice: Dice, count: int, frames: int, kind: str) -> Script:
    """Draw what happens."""
    time = torch.arange(frames, device=dice.device, dtype=torch.float32)
    still = dice.chance((count, 1), 0.3) | torch.tensor(kind == "still", device=dice.device)
    steady = still | dice.chance((count, 1), 0.5) | torch.tensor(kind not in ("mixed", "wipe"), device=dice.device)
    moving = (~steady).float()
    shift = (drift(dice, count, frames, 2, 0.004, 0.12) + shake(dice, count, frames)) * moving[..., None]
    pace = when(dice, (count,), time)
    zoom = (dice.normal((count, 1)) * 0.03 * pace * moving * dice.chance((count, 1), 0.4)).exp()
    turn = dice.normal((count, 1)) * 0.02 * pace * moving * dice.chance((count, 1), 0.25)
    actors = acting(dice, count, frames, kind, still)
    light = gains(dice, count, frames) if kind == "mixed" else torch.ones(count, frames, device=dice.device)
    light = torch.where(still, 1.0, light)
    other, edge = transitions(dice, count, time, kind, still)
    shift = shift + dice.uniform((count, 1, 2), -0.45, 0.45)
    base = dice.uniform((count, 1), 0.75, 1.1) * torch.where(dice.chance((count, 1), 0.5), 1.0, -1.0)  # upside down
    return Script(shift, base * zoom, turn + dice.uniform((count, 1), -0.1, 0.1), *actors, light, other, edge)


def when(dice: Dice, shape: tuple[int, ...], time: Tensor) -> Tensor:
    """Time that passes for all of a clip or for a part of it: [*shape, T], in frames since it began."""
    frames = len(time)
    part = dice.chance((*shape, 1), 0.3)
    begin = torch.where(part, dice.uniform((*shape, 1), 0, frames * 0.8), 0.0)
    return (time - begin).clamp(min=0).minimum(torch.where(part, dice.uniform((*shape, 1), 1, frames), frames))


def drift(dice: Dice, count: int, frames: int, axes: int, slow: float, fast: float) -> Tensor:
    """A pan of constant or growing speed: [count, frames, axes]."""
    time = torch.arange(frames, device=dice.device, dtype=torch.float32)
    pace = when(dice, (count,), time)
    speed = dice.log_uniform((count, 1), slow, fast) * dice.chance((count, 1), 0.8)
    direction = dice.normal((count, axes))
    direction = F.normalize(torch.where(dice.chance((count, 1), 0.4), direction * torch.eye(axes, device=dice.device)[0], direction))
    bend = 1 + dice.normal((count, 1)) * 0.05 * pace * dice.chance((count, 1), 0.4)
    return (speed * pace * bend)[..., None] * direction[:, None]


def shake(dice: Dice, count: int, frames: int) -> Tensor:
    """A hand that holds the camera: [count, frames, 2]."""
    steps = dice.normal((count, frames, 2)) * dice.log_uniform((count, 1, 1), 0.001, 0.03) * dice.chance((count, 1, 1), 0.35)
    held = steps.cumsum(1)
    return torch.where(dice.chance((count, 1, 1), 0.5), steps, held * 0.6)


def acting(dice: Dice, count: int, frames: int, kind: str, still: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The objects' place, size, spin, opacity and deformation."""
    time, many = torch.arange(frames, device=dice.device, dtype=torch.float32), count * OBJECTS
    alone = kind == "small object"
    live = (~still).float().repeat_interleave(OBJECTS, 0)  # [many, 1]
    start = dice.uniform((many, 1, 2), -0.9, 0.9)
    path = drift(dice, many, frames, 2, 0.006, 0.25) * live[..., None]
    swing = dice.chance((many, 1, 1), 0.15) * dice.log_uniform((many, 1, 1), 0.02, 0.4) * live[..., None]
    path = path + swing * torch.sin(time[:, None] * dice.uniform((many, 1, 1), 0.2, 1.2))
    if kind == "orbit":
        phase = dice.uniform((many, 1), 0, 2 * math.pi) + time * dice.log_uniform((many, 1), 0.1, 0.6) * live
        path = dice.uniform((many, 1, 1), 0.15, 0.6) * torch.stack([phase.cos(), phase.sin()], dim=-1)
    if alone:  # across the middle, without a stop
        start, path = start * 0.4, F.normalize(dice.normal((many, 1, 2)), dim=-1) * 0.08 * (time - frames / 2)[:, None]
    pace = when(dice, (many,), time) * live
    size = dice.log_uniform((many, 1), 0.05, 0.6) * (dice.normal((many, 1)) * 0.05 * pace * dice.chance((many, 1), 0.3)).exp()
    turning = dice.normal((many, 1)) * 0.12 * pace * dice.chance((many, 1), 0.4)
    spin = dice.uniform((many, 1), 0, 6.3) * dice.chance((many, 1), 0.5) + turning
    since = torch.where(dice.chance((many, 1), 0.2), dice.uniform((many, 1), 0, frames), -1.0) * live - (1 - live)
    until = torch.where(dice.chance((many, 1), 0.1), dice.uniform((many, 1), 0, frames), float(frames)) * live + frames * (1 - live)
    shown = ((time >= since) & (time < until)).float() * dice.chance((many, 1), 0.55)
    wobble = dice.log_uniform((many, 1), 0.03, 0.4) * dice.chance((many, 1), 0.25) * torch.sin(0.5 * pace + dice.uniform((many, 1), 0, 6))
    if alone:
        first = torch.arange(many, device=dice.device)[:, None] % OBJECTS == 0
        size, shown = dice.uniform((many, 1), 0.06, 0.11).expand(-1, frames), first.float().expand(-1, frames)
        wobble = wobble * 0
    split = (count, OBJECTS, frames)
    parts = (size, spin, shown, wobble)
    return (start + path).reshape(*split, 2), *(part.expand(many, frames).reshape(split) for part in parts)  # type: ignore[return-value]


def gains(dice: Dice, count: int, frames: int) -> Tensor:
    """Light that drifts, flickers, and fades from or to black: [count, frames]."""
    time, one = torch.arange(frames, device=dice.device, dtype=torch.float32), (count, 1)
    light = 1 + dice.normal(one) * 0.02 * time * dice.chance(one, 0.12)
    light = light + dice.normal((count, frames)) * dice.log_uniform(one, 0.005, 0.1) * dice.chance(one, 0.08)
    fade = ((time - dice.uniform(one, 0, frames)) / dice.uniform(one, 2, 8)).clamp(0, 1)
    fade = torch.where(dice.chance(one, 0.5), fade, 1 - fade)
    return light.clamp(0.1, 2.0) * torch.where(dice.chance(one, 0.05), fade, 1.0)


def transitions(dice: Dice, count: int, time: Tensor, kind: str, still: Tensor) -> tuple[Tensor, Tensor]:
    """Cuts and cross-fades to the second scene; a wipe across."""
    one, frames = (count, 1), len(time)
    at = dice.below(one, max(frames - 1, 1)) + 1.0
    length = torch.where(dice.chance(one, 0.3), dice.uniform(one, 2, 8), 1e-3)
    wanted = dice.chance(one, 0.15) & ~still & (kind == "mixed")
    if kind == "cut":
        length, wanted, at = torch.full_like(length, 1e-3), torch.ones_like(wanted), torch.full_like(at, frames // 2)
    other = ((time - at + 1e-3) / length).clamp(0, 1) * wanted
    edge = torch.full((count, frames), -2.0, device=dice.device)
    if kind == "wipe":
        edge = -1.2 + (time - at / 2).clamp(min=0) * dice.uniform(one, 0.1, 0.4)
    return other, edge


class Cast:
    """The pictures of a batch and who wears which."""

    def __init__(self, dice: Dice, pictures: Tensor, count: int, kind: str) -> None:
        self.pictures = pictures
        wears = dice.below((count, OBJECTS + 1), len(pictures))
        wears[:, 0] = torch.arange(count, device=dice.device) % len(pictures)
        self.wears = wears
        self.crop = dice.uniform((count, OBJECTS, 2), -0.6, 0.6)
        self.detail = dice.log_uniform((count, OBJECTS), 0.15, 1.0)  # texture lengths over object lengths
        self.round = dice.log_uniform((count, OBJECTS), 0.7, 8.0)  # power of the norm that outlines: diamond, ellipse, box
        self.aspect = dice.log_uniform((count, OBJECTS), 0.35, 2.8)
        self.lobes = dice.uniform((count, OBJECTS), 0, 0.25) * dice.chance((count, OBJECTS), 0.4)
        self.tint = dice.normal((count, OBJECTS, 3)) * 0.15
        if kind == "small object":
            self.aspect = self.aspect.clamp(0.8, 1.25)
            self.tint = torch.where(dice.chance((count, OBJECTS, 1), 0.5), 0.5, -0.5).expand(-1, -1, 3)

    def frame(self, script: Script, t: int, side: int) -> Tensor:
        """Frame t of every clip: [B, 3, side, side]."""
        line = (torch.arange(side, device=self.crop.device) + 0.5) * 2 / side - 1
        screen = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)[None]  # [1, side, side, 2]: x, y
        world = rotated(screen, script.turn[:, t]) * script.zoom[:, t, None, None, None] + script.shift[:, t, None, None]
        frame = sample(self.pictures[self.wears[:, 0]], world / TEXTURE)
        for k in range(OBJECTS):
            traits = [trait[:, k, None, None] for trait in (self.aspect, self.round, self.lobes, self.detail)]
            now = [value[:, k, t, None, None] for value in (script.size, script.spin, script.shown, script.wobble)]
            spots, alpha = outlined(world, script.place[:, k, t, None, None], self.crop[:, k, None, None], *traits, *now)
            colours = sample(self.pictures[self.wears[:, k + 1]], spots) + self.tint[:, k, :, None, None]
            frame = torch.lerp(frame, colours.clamp(0, 1), alpha[:, None])
        return frame


@Fused
def outlined(
    world: Tensor,  # [B, side, side, 2]
    centre: Tensor,  # [B, 1, 1, 2]
    crop: Tensor,
    aspect: Tensor,  # this and what follows: [B, 1, 1]
    power: Tensor,
    lobes: Tensor,
    detail: Tensor,
    reach: Tensor,
    spin: Tensor,
    shown: Tensor,
    wobble: Tensor,
) -> tuple[Tensor, Tensor]:
    """Where each pixel lies on an object's texture [B, side, side, 2], and how opaque the object is there [B, side, side]."""
    x, y = ((world - centre) / reach[..., None]).unbind(-1)
    x, y = x * spin.cos() - y * spin.sin(), x * spin.sin() + y * spin.cos()
    x, y = x + wobble * torch.sin(3 * y), y + wobble * torch.sin(3 * x)
    u, v = x * aspect**0.5, y / aspect**0.5
    distance = ((u.abs() + 1e-4) ** power + (v.abs() + 1e-4) ** power) ** (1 / power)
    distance = distance * (1 + lobes * torch.sin(5 * torch.atan2(v, u + 1e-6)))
    alpha = ((1 - distance) * reach * world.shape[1] / 2).clamp(0, 1) * shown
    return crop + torch.stack([x, y], dim=-1) * (detail * reach)[..., None], alpha


class Finish:
    """What the camera and the codec do to a frame: light from a side, blur, noise, block artefacts, bars."""

    def __init__(self, dice: Dice, count: int, frames: int, side: int, plain: bool) -> None:
        one = (count, 1, 1, 1)
        self.dice = dice
        self.noise = dice.log_uniform(one, 0.002, 0.03) * dice.chance(one, 0.05 if plain else 0.4)
        self.blur = dice.uniform(one) * dice.chance(one, 0.35)
        self.blocks = dice.uniform(one, 0.3, 1.0) * dice.chance(one, 0.0 if plain else 0.15)
        self.contrast = torch.where(dice.chance(one, 0.25), dice.uniform(one, 0.3, 1.0), 1.0)
        self.level = dice.uniform(one, 0, 1) * (1 - self.contrast)
        self.spot = dice.uniform((count, 2), -1, 1)
        self.spot_speed = dice.normal((count, 2)) * 0.05
        self.spot_light = dice.normal(one) * 0.25 * dice.chance(one, 0.0 if plain else 0.1)
        line = (torch.arange(side, device=dice.device) + 0.5) * 2 / side - 1
        self.line = line
        bar = 1 - dice.uniform((count, 1), 0.05, 0.35) * dice.chance((count, 1), 0.12)
        inside = (line.abs() < bar).float()
        upright = dice.chance(one, 0.3)
        self.window = torch.where(upright, inside[:, None, None, :], inside[:, None, :, None])  # [B, 1, side | 1, …]

    def frame(self, frame: Tensor, t: int) -> Tensor:
        side = frame.shape[-1]
        frame = self.level + self.contrast * frame
        spot = self.spot + t * self.spot_speed
        far = (self.line - spot[:, :1]).square()[:, None, :] + (self.line - spot[:, 1:]).square()[:, :, None]  # [B, side, side]
        frame = frame * (1 + self.spot_light * torch.exp(-2 * far)[:, None])
        small = F.interpolate(frame, size=(side // 2, side // 2), mode="area")
        frame = torch.lerp(frame, F.interpolate(small, size=(side, side), mode="bilinear"), self.blur)
        mean = F.interpolate(F.avg_pool2d(frame, 8), scale_factor=8.0)
        coarse = mean + ((frame - mean) * 10).round() / 10  # what is left of a block's detail after coarse quantisation
        frame = torch.lerp(frame, coarse, self.blocks)
        frame = frame * self.window
        return frame + self.noise * self.dice.normal(tuple(frame.shape))


def rotated(points: Tensor, angle: Tensor) -> Tensor:
    """points [B or 1, h, w, 2] turned by angle [B]."""
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    x, y = points[..., 0], points[..., 1]
    return torch.stack([x * cos - y * sin, x * sin + y * cos], dim=-1)


def sample(pictures: Tensor, points: Tensor) -> Tensor:
    """Bilinear reading of [B, 3, S, S] at points [B, h, w, 2], mirrored beyond the edge."""
    return F.grid_sample(pictures, points, padding_mode="reflection", align_corners=False)
