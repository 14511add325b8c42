"""Options that take several values after one name."""

from ast import literal_eval

import click
import pytest
from click.testing import CliRunner

from nemotron_asr.cli.several import Several


@click.command(cls=Several)
@click.argument("manifests", nargs=-1)
@click.option("--train", multiple=True)
@click.option("--latency", multiple=True, type=click.Choice(["80", "1120"]))
@click.option("--steps", type=int)
def command(**given: object) -> None:
    click.echo(given)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--train a b --steps 3 --train c", {"train": ("a", "b", "c"), "steps": 3}),
        ("--latency 80 1120 one.jsonl two.jsonl", {"latency": ("80", "1120"), "manifests": ("one.jsonl", "two.jsonl")}),
        ("one.jsonl --latency 80 --latency 1120", {"latency": ("80", "1120"), "manifests": ("one.jsonl",)}),
        ("--latency=80 80", {"latency": ("80",), "manifests": ("80",)}),
        ("--latency 80 -- 1120", {"latency": ("80",), "manifests": ("1120",)}),
    ],
)
def test_values_that_fit_belong_to_the_option_before_them(line: str, expected: dict[str, object]) -> None:
    nothing = {"manifests": (), "train": (), "latency": (), "steps": None}
    assert literal_eval(CliRunner().invoke(command, line.split()).output) == nothing | expected


def test_the_first_value_is_the_option_s_whatever_it_is() -> None:
    result = CliRunner().invoke(command, ["--latency", "90", "80"])
    assert "'90' is not one of '80', '1120'" in result.output
