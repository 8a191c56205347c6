"""A report a day: one page that needs nothing else, made from serving. Imported where one is asked for."""
