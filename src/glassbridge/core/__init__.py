"""Decides. Pure machines and value types: no asyncio, sockets, clocks, chance or logging."""
