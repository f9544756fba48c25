"""Sentences with ``{}`` for the name of a class."""

from __future__ import annotations

import string


def wrong_in_template(template: str) -> str:
    """What keeps a sentence from being a template, to be read behind it; "" for a sound one."""
    try:
        fields = [part[1:] for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:  # a brace alone
        return f"has a brace that is not closed or opened ({error}); write {{{{ or }}}} for a brace"
    strange = [f"{{{name}{'!' + kind if kind else ''}{':' + spec if spec else ''}}}"
               for name, spec, kind in fields if name or spec or kind]  # fmt: skip
    if strange and len(strange) < len(fields):
        return f"has {strange[0]}; {{}} alone stands for the class name"
    return "" if fields and not strange else "has no {} for the class name"


def fill_template(template: str, name: str) -> str:
    """A template with a class's name at each ``{}``."""
    return template.format(*[name] * template.count("{}"))
