"""wirekey translate: show a request as it would be sent in another format, offline."""

from __future__ import annotations

import json
from typing import IO, Any

import click

from wirekey.features.translation.formats import FORMATS


@click.command("translate")
@click.option("--from", "client", type=click.Choice(list(FORMATS)), required=True, help="Format of the request.")
@click.option("--to", "upstream", type=click.Choice(list(FORMATS)), required=True, help="Format to translate it to.")
@click.option("--model", help="Model of the upstream. Default: a usual one of the format.")
@click.option("--stream", is_flag=True, help="For gemini, converse and invoke: translate a streamed call.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.argument("file", type=click.File("rb"))
def command(client: str, upstream: str, model: str | None, file: IO[bytes], *, stream: bool, as_json: bool) -> None:
    """Translate the body of a request in FILE (- for standard input), and print it with what it loses.

    Nothing is sent. The exit code is 1 if the request cannot be translated.
    """
    from wirekey.core.errors import Refusal, UserError
    from wirekey.features.translation.requests import translate_request
    from wirekey.features.translation.state import StateReader

    target = FORMATS[upstream]
    if client == upstream:
        raise click.UsageError("--from and --to are the same format, so nothing is translated.")
    try:
        found = translate_request(
            FORMATS[client], target, model or target.usual_model, file.read(), StateReader(b""), stream=stream
        )
    except Refusal as refusal:
        raise UserError(f"The request cannot be translated: {refusal.message}") from None
    losses = found.context.losses
    query = f"?{found.query}" if found.query else ""
    if as_json:
        lost: dict[str, Any] = {
            "adjusted": sorted(losses.adjusted), "dropped": sorted(losses.dropped), "unknown": losses.unknown,
        }  # fmt: skip
        request = {"path": found.path + query, "headers": dict(found.headers), "body": json.loads(found.body)}
        click.echo(json.dumps({**request, "losses": lost}))
        return
    click.echo(f"POST {found.path}{query}")
    click.echo(json.dumps(json.loads(found.body), indent=2, ensure_ascii=False))
    for word, names in (("adjusted", losses.adjusted), ("dropped", losses.dropped)):
        for name in sorted(names):
            click.echo(f"{word}: {name}")
    if losses.unknown:
        click.echo(f"dropped: {losses.unknown} members that Wirekey does not know")
