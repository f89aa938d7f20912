"""Objectives that a sweep can train on."""
