"""Alerts: what is wrong, who has been told, in which words, and through which sink.

What belongs here: everything between a problem and its message. What does not: finding problems
(`automation.watch`), and any knowledge of Dagster.
"""
