"""Servers on this machine."""
