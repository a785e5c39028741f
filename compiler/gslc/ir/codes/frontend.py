"""Diagnostic codes of this room."""

from gslc.ir.diagnostic import CodeTable

CODES: CodeTable = {}
