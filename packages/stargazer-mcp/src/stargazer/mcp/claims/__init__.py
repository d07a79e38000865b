"""Statements about stored files are checked against the bytes: docs/claims.md has the rules and the queries."""

from __future__ import annotations

from stargazer.mcp.claims.check import check_claims

__all__ = ["check_claims"]
