"""All commands are there, as in a program: which variables there are is asked of them (cli/common.py, known_names)."""

import glassbridge.cli.main

__all__ = ["glassbridge"]
