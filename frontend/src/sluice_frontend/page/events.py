"""What Gradio leaves untyped or private of an event, in one place."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import gradio as gr

FORWARD = "element.addEventListener('sluice', event => trigger('select', event.detail));"
"""The `js_on_load` of a gr.HTML whose buttons page.js turns into events: they arrive in Python as its `select`."""


def skip() -> dict[str, Any]:
    """Leave an output as it is. Made anew each time, as below: Gradio changes what it is given."""
    return {"__type__": "update"}


def visible(shown: bool, **more: Any) -> dict[str, Any]:
    return {"visible": shown, "__type__": "update", **more}


def when(
    triggers: Sequence[Any],
    act: Callable[..., Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    *,
    cancels: Sequence[Any] = (),
) -> Any:
    """At any of these triggers call `act`; `cancels` are what earlier calls of this function returned.

    Gradio covers the outputs with a spinner while it waits: the page says itself what is happening.
    """
    on = cast("Any", gr).on
    return on(triggers, act, list(inputs), list(outputs), cancels=list(cancels) or None, show_progress="hidden")


def detail_of(event: gr.EventData) -> dict[str, Any]:
    """What page.js sent along. The browser made it: check it before use."""
    detail: object = event._data  # pyright: ignore[reportPrivateUsage]  # there is no public way to all of it
    return cast("dict[str, Any]", detail) if isinstance(detail, dict) else {}


def query_of(request: gr.Request) -> dict[str, str]:
    """The query of the page's address."""
    return dict(cast("Any", request).query_params)


def cookies_of(request: gr.Request) -> dict[str, str]:
    return dict(cast("Any", request).cookies)
