"""Helpers that the tests share: real servers, real processes, leak checks."""
