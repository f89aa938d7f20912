"""The command line: commands, TOML specs, and what is printed.

Imports everything; nothing imports it.
"""
