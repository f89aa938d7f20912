"""Mutation testing: ``python -m tests.mutation``; what is changed and which tests should see it."""
