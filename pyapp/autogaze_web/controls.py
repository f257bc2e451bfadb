"""Every setting as the page shows it, and what comes back from the page as settings.

The choices and the defaults are those of GazeSettings and PaintSettings, and both refuse what makes no sense: nothing is said twice but
limits and words, and tests hold the limits to what is refused and the words to the command line's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields

from autogaze_web.errors import SettingsError, quoted
from autogaze_web.paint import GEOMETRIES, MASK_MODES, OUTPUT_MODES, PaintSettings
from autogaze_web.settings import MOST_DB, WINDOWS, GazeSettings, check_paint
from autogaze_web.tiles import MODES

GAZE, PAINT, PAGE = "gaze", "paint", "page"  # groups: gazing again, painting again, neither
CHOICE, INTEGER, NUMBER, NUMBERS, INTEGERS = "choice", "integer", "number", "numbers", "integers"  # kinds; the last two are lists
BACKENDS = ("auto", "webgpu", "wasm")
OFF = "off"  # the value of task_loss
Value = str | int | float | tuple[int, ...] | tuple[float, ...]
DEFAULTS: dict[str, Value | None] = asdict(GazeSettings()) | asdict(PaintSettings()) | {"task_loss": None, "backend": BACKENDS[0]}


@dataclass(frozen=True)
class Setting:
    """One named value: a parameter of the page's address, and a key of what the page sends."""

    name: str  # of the field that it sets, where it sets one
    group: str  # GAZE, PAINT or PAGE
    kind: str
    label: str
    help: str  # a sentence
    choices: tuple[tuple[str, str], ...] = ()  # value, label
    least: float | None = None
    above: float | None = None  # as least, but not the limit itself
    most: float | None = None
    step: float | None = None  # of arrows and sliders; other values are good too
    start: float | None = None  # where a field begins that had no value
    unit: str = ""
    between: str = ""  # what separates the parts of a list, in the address too
    unset: str = ""  # what no value means, where the default is none
    control: str = ""  # of the Alternatives that it is one of; "": a control of its own
    needs: tuple[str, str | None] | None = None  # counts only where another setting has this value, or any value that is not its default
    rare: bool = False  # shown when more is asked for

    @property
    def default(self) -> Value | None:
        return DEFAULTS[self.name]


@dataclass(frozen=True)
class Alternatives:
    """One control for settings of which one may be given, or none."""

    name: str
    label: str
    help: str
    unset: str


ALTERNATIVES = (
    Alternatives("budget", "Budget", "How many tokens a frame may have, at most, in each tile.", "As the checkpoint"),
    Alternatives("task_loss", "Task loss", "A frame ends when the model predicts that little is missing.", "As the checkpoint"),
)
STOPS = {  # what the two mean together, by (budget given, task loss: "" | "given" | OFF); settings.stop_rule is the rule itself
    (False, ""): "The checkpoint's own budget and task loss; whichever comes first ends a frame.",
    (True, ""): "The budget alone: the task loss is off.",
    (False, "given"): "The task loss alone: every cell is allowed.",
    (True, "given"): "Whichever comes first ends a frame.",
    (False, OFF): "Nothing ends a frame early: every cell is looked at.",
    (True, OFF): "The budget alone.",
}


def choices(values: Collection[str], labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Every value with its label; KeyError where one has none."""
    return tuple((value, labels[value]) for value in values)


SETTINGS = (
    Setting(
        "mode",
        GAZE,
        CHOICE,
        "Mode",
        "The whole frame at once, or in tiles of the model's size.",
        choices(MODES, {"resize": "Whole frame", "tiled": "Tiles"}),
    ),
    Setting(
        "max_gaze_tokens_each_frame",
        GAZE,
        INTEGER,
        "Tokens",
        "Budget as a count, per tile.",
        least=1,
        step=1,
        start=40,
        unit="tokens",
        control="budget",
    ),
    Setting(
        "gazing_ratio",
        GAZE,
        NUMBERS,
        "Share",
        "Budget: a share of a frame's cells, or a comma list with one share a frame of the window.",
        least=0,
        most=1,
        step=0.05,
        start=0.1,
        between=",",
        control="budget",
    ),
    Setting(
        "task_loss_requirement",
        GAZE,
        NUMBER,
        "Loss",
        "A frame ends when its predicted loss is at or below.",
        step=0.05,
        start=0.7,
        control="task_loss",
    ),
    Setting(
        "task_loss_requirement_db",
        GAZE,
        NUMBER,
        "dB",
        "The same as -20·log10(loss). It is not the PSNR of the output.",
        least=-MOST_DB,
        most=MOST_DB,
        step=0.5,
        start=3,
        unit="dB",
        control="task_loss",
    ),
    Setting("task_loss", GAZE, CHOICE, "Off", "Only the budget ends a frame.", ((OFF, "Off"),), control="task_loss"),
    Setting(
        "window",
        GAZE,
        CHOICE,
        "Window",
        "Independent chunks, as NVIDIA does, or the latest frames at any time.",
        choices(WINDOWS, {"chunk16": "Chunks", "rolling": "Rolling"}),
    ),
    Setting(
        "clip_len",
        GAZE,
        INTEGER,
        "Window length",
        "Frames of a window; default: the checkpoint's.",
        least=1,
        step=1,
        start=16,
        unit="frames",
        unset="As the checkpoint",
        rare=True,
    ),
    Setting(
        "tile_batch",
        GAZE,
        INTEGER,
        "Tile batch",
        "Tiles decoded together, to save memory; 0: all.",
        least=0,
        step=1,
        unit="tiles",
        rare=True,
    ),
    Setting(
        "target_scales",
        GAZE,
        INTEGERS,
        "Target scales",
        "Gaze on another encoder's scales, such as 64+128+224+448.",
        least=1,
        between="+",
        unset="None",
        needs=("mode", "resize"),
        rare=True,
    ),
    Setting(
        "target_patch_size",
        GAZE,
        INTEGER,
        "Target patch",
        "Of that encoder.",
        least=1,
        step=1,
        unit="pixels",
        needs=("target_scales", None),
        rare=True,
    ),
    Setting(
        "output_mode",
        PAINT,
        CHOICE,
        "Output",
        "Keep what was not looked at from before, or whiten what was looked at.",
        choices(OUTPUT_MODES, {"interframe": "Interframe", "full-blend": "Full blend"}),
    ),
    Setting(
        "keyframe_duration",
        PAINT,
        INTEGER,
        "Keyframe every",
        "Frames between whole frames of interframe; 0: only the first.",
        least=0,
        step=1,
        unit="frames",
        needs=("output_mode", "interframe"),
    ),
    Setting(
        "mask_mode",
        PAINT,
        CHOICE,
        "Mask",
        "How the mask panel shows cells.",
        choices(
            MASK_MODES,
            {
                "overlay": "Cells on black",
                "image-overlay": "Cells over the picture",
                "image-mask-only": "Cells only, rest transparent",
                "scale-rows": "A band a scale",
            },
        ),
    ),
    Setting(
        "geometry",
        PAINT,
        CHOICE,
        "Geometry",
        "Every cell; no cell that coarser ones cover; all on the finest grid.",
        choices(GEOMETRIES, {"native": "Every cell", "deduplicated": "No covered cell", "effective": "On the finest grid"}),
    ),
    Setting("blend_alpha", PAINT, NUMBER, "Blending", "Strength of blending, 0 to 1.", least=0, most=1, step=0.01),
    Setting("mask_cell_scale", PAINT, NUMBER, "Cell scale", "Size of drawn and updated cells.", above=0, most=16, step=0.1, unit="×"),
    Setting(
        "backend",
        PAGE,
        CHOICE,
        "Backend",
        "Where the graphs run; automatic takes WebGPU where it is there and right.",
        choices(BACKENDS, {"auto": "Automatic", "webgpu": "WebGPU", "wasm": "WASM"}),
        rare=True,
    ),
)
BY_NAME = {setting.name: setting for setting in SETTINGS}
FIELDS = {GAZE: {field.name for field in fields(GazeSettings)}, PAINT: {field.name for field in fields(PaintSettings)}}


def describe() -> dict[str, object]:
    """What the page makes its controls of, as JSON values."""
    return {
        "settings": [_json(setting) for setting in SETTINGS],
        "alternatives": [asdict(control) for control in ALTERNATIVES],
        "stops": [{"budget": budget, "loss": loss, "text": text} for (budget, loss), text in STOPS.items()],
    }


def parse(settings: Mapping[str, object]) -> tuple[GazeSettings, PaintSettings]:
    """What the page sent, None and what is missing being the default; SettingsError for what makes no sense."""
    given = {name: checked(name, value) for name, value in settings.items() if value is not None}
    task_loss = given.pop("task_loss", None)
    if task_loss is not None:
        _switch_off(given)
    gaze = {name: value for name, value in given.items() if name in FIELDS[GAZE]}
    paint = {name: value for name, value in given.items() if name in FIELDS[PAINT]}
    return GazeSettings(**gaze), check_paint(PaintSettings(**paint))  # type: ignore[arg-type]  # checked() saw to the types


def _switch_off(given: dict[str, Value]) -> None:
    """No task loss: a budget is then the only limit, and where there is none, every cell is allowed (settings.stop_rule)."""
    for name in ("task_loss_requirement", "task_loss_requirement_db"):
        if name in given:
            raise SettingsError(f"task_loss is {OFF}, and {name} sets it; give one of them.")
    if "max_gaze_tokens_each_frame" not in given:
        given.setdefault("gazing_ratio", 1.0)


def checked(name: str, value: object) -> Value:
    """A value of the kind that the setting has; whether it makes sense is for GazeSettings and PaintSettings to say."""
    setting = BY_NAME.get(name)
    if setting is None or setting.group == PAGE:
        known = ", ".join(setting.name for setting in SETTINGS if setting.group != PAGE)
        raise SettingsError(f"There is no setting {quoted(name)}; there are {known}.")
    if setting.kind == CHOICE:
        return _choice(setting, value)
    if setting.kind in (INTEGER, NUMBER):
        return _number(setting, value)
    parts = value if isinstance(value, list | tuple) else (value,)
    if not parts:
        raise SettingsError(f"{name} is an empty list; give one number or more.")
    numbers = tuple(_number(setting, part) for part in parts)
    return numbers[0] if name == "gazing_ratio" and len(numbers) == 1 else numbers


def _choice(setting: Setting, value: object) -> str:
    values = [choice for choice, _ in setting.choices]
    if not isinstance(value, str) or value not in values:
        raise SettingsError(f"{setting.name} is {quoted(value)}; choose one of {', '.join(values)}.")
    return value


def _number(setting: Setting, value: object) -> int | float:
    """int for whole kinds: JavaScript's 3.0 is 3."""
    whole = setting.kind in (INTEGER, INTEGERS)
    if isinstance(value, bool) or not isinstance(value, int | float) or (whole and value != value // 1):
        raise SettingsError(f"{setting.name} is {quoted(value)}; it is a {'whole ' if whole else ''}number.")
    if whole:
        return int(value)
    return float(value)


def _json(setting: Setting) -> dict[str, object]:
    """Without what a setting does not say."""
    said: dict[str, object] = {key: value for key, value in asdict(setting).items() if value is not None and value not in ("", ())}
    said["choices"] = [{"value": value, "label": label} for value, label in setting.choices]
    said["needs"] = None if setting.needs is None else dict(zip(("name", "value"), setting.needs, strict=True))
    return said | {"default": setting.default}
