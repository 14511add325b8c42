"""Options that take several values after one name, as argparse's do: `--latency 80 1120`."""

from collections.abc import Iterator, Mapping, Sequence

import click


class Several(click.Command):
    """A command whose repeatable options take all values that fit, up to the next option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give every value its own option, as click wants it."""
        options = {
            name: parameter
            for parameter in self.params
            if isinstance(parameter, click.Option) and parameter.multiple
            for name in parameter.opts
        }
        return super().parse_args(ctx, list(_one_by_one(args, options)))


def _one_by_one(arguments: Sequence[str], options: Mapping[str, click.Option]) -> Iterator[str]:
    name, is_first = "", True
    for argument in arguments:
        if argument.startswith("-"):
            name, is_first = argument if argument in options else "", True
        elif name and not is_first:
            name = name if _fits(options[name], argument) else ""
            yield from filter(None, [name])
        else:
            is_first = False
        yield argument


def _fits(option: click.Option, value: str) -> bool:
    try:
        option.type.convert(value, option, None)
    except click.BadParameter:
        return False
    return True
