"""Every pair of colours that the pages put on each other can be read, light and dark.

Source: WCAG 2.2, 1.4.3 and 1.4.11.
"""

import re
from itertools import product
from pathlib import Path

import pytest

import scripthut_outputs

FOLDER = Path(scripthut_outputs.__file__).parent / "static"
SOURCE = (FOLDER / "tokens.css").read_text("utf-8")
DARK = "@media screen and (prefers-color-scheme: dark)"
SCHEMES = ("light", "dark")

TONES = ("waiting", "active", "good", "bad", "warning", "odd")
GROUNDS = ("paper", "surface", "sunken")
WORDS = ("ink", "ink-soft", "ink-faint", "accent", *TONES)
READ = [
    *product(WORDS, GROUNDS),
    *((tone, f"{tone}-fill") for tone in TONES),
    *product(("ink", "ink-soft", "accent"), ("accent-fill",)),
    *product(("ink", "accent"), ("warning-fill",)),
    ("accent-ink", "accent"),
]
"""Words and what they stand on: 4.5 to 1."""
SEEN = [*product(("accent", "field-line"), ("paper", "surface"))]
"""What must be seen to use a control, focus rings and the frames of fields: 3 to 1."""


def blocks(source: str) -> dict[str, dict[str, str]]:
    """Tokens by scheme; what dark does not change is as in light."""
    light, _, rest = source.partition(DARK)
    dark = declared(rest.partition("@media")[0])
    return {"light": declared(light), "dark": declared(light) | dark}


def resolved(tokens: dict[str, str]) -> dict[str, str]:
    """Tokens that name another one are what that one is."""
    return {name: tokens.get(value.removeprefix("var(--").removesuffix(")"), value) for name, value in tokens.items()}


def declared(source: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+):\s*([^;]+);", source))


TOKENS = blocks(SOURCE)


def luminance(color: str) -> float:
    """Relative luminance of `#rrggbb`. Source: WCAG 2.2, the definition of relative luminance."""
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("words", "ground"), READ)
def test_words_can_be_read_on_what_they_stand_on(words: str, ground: str, scheme: str) -> None:
    tokens = TOKENS[scheme]

    assert contrast(tokens[words], tokens[ground]) >= 4.5


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("drawn", "ground"), SEEN)
def test_frames_and_focus_can_be_seen(drawn: str, ground: str, scheme: str) -> None:
    tokens = TOKENS[scheme]

    assert contrast(tokens[drawn], tokens[ground]) >= 3


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("ground", GROUNDS)
def test_every_colour_of_code_and_terminals_can_be_read(scheme: str, ground: str) -> None:
    tokens = resolved(TOKENS[scheme])
    drawn = [name for name in tokens if re.match(r"(code|ansi)-(?!.*(fill|ground))", name)]

    assert [name for name in drawn if contrast(tokens[name], tokens[ground]) < 4.5] == []


def test_dark_gives_every_colour_anew() -> None:
    is_color = re.compile(r"#[0-9a-f]{6}")
    dark = declared(SOURCE.partition(DARK)[2].partition("@media")[0])
    kept = {name for name, value in TOKENS["light"].items() if is_color.fullmatch(value)} - dark.keys()

    assert kept == set()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.css")), ids=lambda path: path.name)
def test_every_token_that_styles_use_is_there(path: Path) -> None:
    used = set(re.findall(r"var\(--([a-z0-9-]+)", path.read_text("utf-8")))
    own = set(re.findall(r"--([a-z0-9-]+):", path.read_text("utf-8")))
    known = set(re.findall(r"--([a-z0-9-]+):", SOURCE))

    assert used - own - known == set()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.css")), ids=lambda path: path.name)
def test_styles_load_nothing(path: Path) -> None:
    assert not re.search(r"url\(|@import|image-set|@font-face", path.read_text("utf-8"))
