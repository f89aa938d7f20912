"""The command line: commands, TOML specs, and what is printed.

Imports any room below; nothing imports it.
"""
