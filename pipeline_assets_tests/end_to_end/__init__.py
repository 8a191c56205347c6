"""End to end: through Dagster's own daemon, webserver, browser pages and command lines, as processes.

What belongs here: what only the whole of it can show, in few and generous tests. What does not: anything that
can be shown in one process; each start of Dagster costs seconds.
"""
