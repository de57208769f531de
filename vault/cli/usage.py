"""What is wrong with a command line, said by our own names: what was typed may be a value or a credential."""

from __future__ import annotations

from typing import Final

import click

from vault.errors import BadInput

_READ_VALUES: Final = ("tokenize", "detokenize", "encrypt", "decrypt")


def explain(problem: click.UsageError) -> BadInput:
    """The refusal that stands for a usage error."""
    facts = {"reason": _reason(problem)}
    if problem.ctx is not None:
        facts["help"] = f"{problem.ctx.command_path} --help"
    return BadInput("usage", **facts)


def _reason(problem: click.UsageError) -> str:
    hint = _parameter(problem)
    if isinstance(problem, click.MissingParameter):
        return f"{hint} is missing"
    if isinstance(problem, click.BadParameter):
        return f"{hint} {_expected(problem.param)}"
    message = problem.message
    if message.startswith("No such option"):
        return "there is no such option" + _meant(problem)
    if message.startswith("No such command"):
        return "there is no such command" + _meant(problem)
    if message.startswith("Missing command"):
        return "a command is missing"
    if message.startswith("Got unexpected extra argument"):
        return "there are more arguments than it takes" + _instead(problem)
    if isinstance(problem, click.BadOptionUsage):
        return f"{problem.option_name} has no value, or one where it takes none"
    return "it cannot be read"


def _parameter(problem: click.UsageError) -> str:
    parameter = getattr(problem, "param", None)
    if isinstance(parameter, click.Option):
        return max(parameter.opts, key=len)
    return "an argument" if parameter is None else str(parameter.human_readable_name)


def _expected(parameter: click.Parameter | None) -> str:
    if parameter is not None and isinstance(parameter.type, click.Choice):
        return "is one of " + ", ".join(map(str, parameter.type.choices))
    return "has a value that it does not take"


def _meant(problem: click.UsageError) -> str:
    near = getattr(problem, "possibilities", None)
    return f" (near: {', '.join(near)})" if near else ""


def _instead(problem: click.UsageError) -> str:
    if problem.ctx is not None and problem.ctx.info_name in _READ_VALUES:
        return "; values and tokens come on standard input or with --in"
    return ""
