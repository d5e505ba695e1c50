"""Turns. The one place where asyncio meets core: mailboxes, timers, effects, supervised tasks, child processes."""
