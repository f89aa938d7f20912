"""A module whose functions import another one, each in its own way, as they run."""

IMPORTING = """
import importlib
def direct(c):
    import imported_as_it_runs
    return imported_as_it_runs.K
def helper():
    from imported_as_it_runs import K as k
    return k
def by_helper(c):
    return helper()
def by_text(c):
    return importlib.import_module("imported_as_it_runs").K
def in_try(c):
    try:
        import there_is_no_such_module
    except ImportError:
        import imported_as_it_runs as short
    return short.K
"""
