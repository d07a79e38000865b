"""Asks the person at the client before something is changed, where the client can ask."""

from __future__ import annotations

from fastmcp import Context
from fastmcp.exceptions import ToolError
from fastmcp.server.elicitation import AcceptedElicitation

from mcp import MCPError
from mcp.types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult

__all__ = ["consent"]

MODERN = "2026-07-28"
"""The first revision in which a server asks by an answer of its own, and not by a request."""
KEY = "confirm"
SCHEMA = {
    "type": "object",
    "properties": {"value": {"type": "boolean", "title": "Do it", "default": False}},
    "required": ["value"],
}


async def consent(context: Context, question: str, about: str) -> InputRequiredResult | None:
    """Have somebody agree to a change; a client that cannot ask has its annotations to tell it what the tool does.

    Args:
        question: for the person; what comes from files is JSON in it.
        about: what exactly is agreed to: an answer to another question does not count.

    Returns:
        What the tool is to answer with, so that the client asks and calls again; None if it may go ahead.

    Raises:
        ToolError: it was not agreed to.
    """
    request, session = context.request_context, context.session
    declared = session.client_capabilities
    can = declared.elicitation if declared else None
    if request is None or can is None or (can.form is None and can.url is not None):
        return None
    if request.protocol_version < MODERN:
        try:
            answer = await context.elicit(question, bool, response_title="Do it")
        except MCPError as error:
            raise ToolError(f"nothing was changed: the client could not ask ({error})") from error
        if not (isinstance(answer, AcceptedElicitation) and answer.data is True):
            raise _refused()
        return None
    responses = context.input_responses
    if responses is None or context.request_state != about:
        form = ElicitRequestFormParams(message=question, requested_schema=SCHEMA)
        return InputRequiredResult(input_requests={KEY: ElicitRequest(params=form)}, request_state=about)
    said = responses.get(KEY)
    if (
        not isinstance(said, ElicitResult)
        or said.action != "accept"
        or (said.content or {}).get("value") is not True
    ):
        raise _refused()
    return None


def _refused() -> ToolError:
    return ToolError("nothing was changed: the user did not agree; ask them before you try it again")
