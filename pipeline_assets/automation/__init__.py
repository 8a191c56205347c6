"""Automation: when assets are built, and what asks for it."""
