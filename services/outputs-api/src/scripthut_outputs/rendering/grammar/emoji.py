"""Emoji by their short names, `:rocket:`: the character itself. Pure."""

from pymdownx.emoji import EmojiExtension, gemoji


def extension() -> EmojiExtension:
    """Know the names that GitHub knows."""
    return EmojiExtension(emoji_index=gemoji, emoji_generator=_character)


def _character(*arguments: object) -> str:
    """Give the character; a name that has none, as `:octocat:`, stays as it is."""
    character = arguments[4]
    return str(character)
