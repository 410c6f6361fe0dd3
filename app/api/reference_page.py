"""The page for people at `/docs`: our OpenAPI document as plain HTML that loads nothing, no script either."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from html import escape
from typing import Any

from fastapi import FastAPI
from starlette.responses import HTMLResponse

from app.openapi import swagger

_REFERENCE = "#/components/schemas/"

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --soft: #59636e; --line: #d4d9df; --back: #fff;
  --box: #f4f6f8; --link: #0a5bb5 }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e7ec; --soft: #9aa4af; --line: #353c45;
  --back: #14181d; --box: #1c2229; --link: #7ab7ff } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; color: var(--ink); background: var(--back);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1, h2, h3, h4 { line-height: 1.25 }
h2 { border-bottom: 1px solid var(--line); margin-top: 3rem; padding-bottom: .3rem }
h3 { font-size: 1rem; margin: 0 } h4 { font-size: .8rem; margin: 1rem 0 .2rem; color: var(--soft) }
a { color: var(--link) }
code, pre, h3, nav li { font-family: ui-monospace, monospace; font-size: .9rem }
pre { background: var(--box); border-radius: .4rem; margin: .3rem 0; padding: .6rem; overflow-x: auto }
ul { margin: 0; padding: 0; list-style: none }
li { padding: .15rem 0 }
i { color: var(--soft); font-style: normal }
article { border: 1px solid var(--line); border-radius: .5rem; margin: 1rem 0; padding: .8rem }
article:target { border-color: var(--link); box-shadow: 0 0 0 1px var(--link) }
article p { margin: .5rem 0 }
b.method { text-transform: uppercase }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def install(app: FastAPI) -> None:
    """Serves the page, which is made when it is asked for first."""

    @cache
    def made() -> bytes:
        return page(app.openapi()).encode()

    @app.get("/docs", include_in_schema=False)
    async def reference_page() -> HTMLResponse:
        return HTMLResponse(made(), headers=_HEADERS)


def page(openapi: Mapping[str, Any]) -> str:
    """The whole page of an OpenAPI document."""
    return "".join(_page(openapi, openapi["components"]["schemas"]))


def _page(openapi: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    yield from _head(openapi)
    tags = _by_tag(openapi)
    yield "<nav>"
    for tag, operations in tags.items():
        yield f'<h4><a href="#tag-{_anchor(tag)}">{escape(tag)}</a></h4><ul>'
        yield from (_entry(*item) for item in operations)
        yield "</ul>"
    yield '<h4><a href="#bodies">bodies</a></h4></nav><main>'
    for tag, operations in tags.items():
        yield f'<section id="tag-{_anchor(tag)}"><h2>{escape(tag)}</h2>'
        for path, method, operation in operations:
            yield from _operation(path, method, operation, schemas)
        yield "</section>"
    yield '<section id="bodies"><h2>bodies</h2>'
    for name, schema in schemas.items():
        yield from _body(name, schema)
    yield "</section></main></body></html>"


def _head(openapi: Mapping[str, Any]) -> Iterator[str]:
    title, version = escape(openapi["info"]["title"]), escape(openapi["info"]["version"])
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<style>{_STYLE}</style></head><body><header><h1>{title} {version}</h1>"
    yield f"<p>{_prose(openapi['info'].get('description', ''))}</p><p>{_authorization(openapi)}</p>"
    yield '<p>For programs: <a href="openapi.json">OpenAPI 3.1</a>, and as Swagger 2.0 '
    yield '<a href="docs/all_platform">the platform</a> and <a href="docs/documents">the documents hub</a>.'
    yield "</p></header>"


def _by_tag(openapi: Mapping[str, Any]) -> dict[str, list[tuple[str, str, Mapping[str, Any]]]]:
    found: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for path, method, operation in swagger.operations(openapi):
        found.setdefault((operation.get("tags") or ["other"])[0], []).append((path, method, operation))
    return found


def _authorization(openapi: Mapping[str, Any]) -> str:
    schemes = openapi["components"].get("securitySchemes", {}).values()
    return " ".join(f"<code>{escape(item['name'])}</code>: {_prose(item['description'])}" for item in schemes)


def _entry(path: str, method: str, operation: Mapping[str, Any]) -> str:
    return f'<li><a href="#{escape(operation["operationId"])}">{_call(path, method)}</a></li>'


def _call(path: str, method: str) -> str:
    return f'<b class="method">{method}</b> {escape(path.removeprefix(swagger.BASE_PATH))}'


def _operation(
    path: str, method: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]
) -> Iterator[str]:
    name = escape(operation["operationId"])
    yield f'<article id="{name}"><h3><a href="#{name}">{_call(path, method)}</a></h3>'
    yield f"<p>{_prose(operation.get('description') or operation.get('summary', ''))}</p><p><i>{name}"
    if swagger.POWER in operation:
        yield f"; for elements whose operations include <code>{escape(operation[swagger.POWER])}</code>"
    yield "; with Authorization</i></p>" if operation.get("security") else "</i></p>"
    yield from _list("Parameters", (_parameter(item) for item in operation.get("parameters", ())))
    for kind, media in operation.get("requestBody", {}).get("content", {}).items():
        yield from _sent(kind, media, schemas)
    yield from _list("Answers", _answers(operation["responses"]))
    yield "</article>"


def _list(title: str, items: Iterable[str]) -> Iterator[str]:
    found = list(items)
    if found:
        yield f"<h4>{title}</h4><ul>{''.join(f'<li>{item}</li>' for item in found)}</ul>"


def _parameter(given: Mapping[str, Any]) -> str:
    return _line(
        given["name"],
        [given["in"], _type(given.get("schema", {})), "required" if given.get("required") else ""],
        given.get("description", ""),
        given.get("schema", {}),
    )


def _line(name: str, facts: Iterable[str], description: str, schema: Mapping[str, Any]) -> str:
    said = list(facts)
    if schema.get("default") not in (None, "", [], {}):
        said.append(f"default {escape(json.dumps(schema['default']))}")
    return f"<code>{escape(name)}</code> <i>{', '.join(filter(None, said))}</i> {_prose(description)}"


def _sent(kind: str, media: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    schema = media.get("schema", {})
    resolved = _resolved(schema, schemas)
    yield from _list(f"Body, {escape(kind)}: {_type(schema)}", _fields(resolved))
    yield from _example({**resolved, **{key: media[key] for key in ("example", "examples") if key in media}})


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    required = schema.get("required", ())
    for name, item in schema.get("properties", {}).items():
        facts = [_type(item), "required" if name in required else ""]
        yield _line(name, facts, item.get("description", ""), item)


def _example(schema: Mapping[str, Any]) -> Iterator[str]:
    found = schema.get("example")
    if found is None and schema.get("examples"):
        examples = schema["examples"]
        found = next(iter(examples.values())).get("value") if isinstance(examples, Mapping) else examples[0]
    if found is not None:
        yield f"<pre>{escape(json.dumps(found, indent=2, ensure_ascii=False))}</pre>"


def _answers(responses: Mapping[str, Any]) -> Iterator[str]:
    """Success with what it carries; what went wrong is one form of body for all."""
    errors = [status for status in responses if not status.startswith(("2", "3"))]
    for status, response in responses.items():
        if status not in errors:
            said = _prose(response.get("description", ""))
            yield f"<code>{escape(status)}</code> {_carried(response)} {said}"
    if errors:
        carried = dict.fromkeys(_carried(responses[status]) for status in errors)
        yield " ".join([*(f"<code>{escape(status)}</code>" for status in errors), *carried])


def _carried(response: Mapping[str, Any]) -> str:
    kinds = (
        _type(media["schema"]) if media.get("schema") else escape(kind)
        for kind, media in response.get("content", {}).items()
    )
    return f"<i>{', '.join(filter(None, kinds))}</i>"


def _body(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    said = _prose(schema.get("description", ""))
    yield f'<article id="body-{_anchor(name)}"><h3>{escape(name)}</h3><p>{said}</p>'
    yield from _list("Fields", _fields(schema))
    yield from _example(schema)
    yield "</article>"


def _resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body itself, also where it may be left out."""
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        return _resolved(options[0], schemas)
    if "$ref" in schema:
        found: Mapping[str, Any] = schemas[schema["$ref"].removeprefix(_REFERENCE)]
        return found
    return schema


def _type(schema: Mapping[str, Any]) -> str:
    """The kind of a value in a few words; a body's name leads to it."""
    options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if options:
        return " or ".join(dict.fromkeys(_type(option) for option in options if option.get("type") != "null"))
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REFERENCE)
        return f'<a href="#body-{_anchor(name)}">{escape(name)}</a>'
    if "const" in schema or "enum" in schema:
        values = schema.get("enum") or [schema["const"]]
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in values)
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items', {})) or 'anything'}"
    if isinstance(schema.get("additionalProperties"), Mapping) and "properties" not in schema:
        return f"object of {_type(schema['additionalProperties']) or 'anything'}"
    return escape(str(schema.get("format") or schema.get("type", "")))


def _anchor(name: str) -> str:
    return re.sub(r"[^\w-]+", "-", name)


def _prose(text: str) -> str:
    """Plain sentences; what stands between backticks is code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text)).replace("\n\n", "<br>")
