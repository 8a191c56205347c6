"""Web-server logs to complete days: one Dagster asset graph from landed files to tables people query."""
