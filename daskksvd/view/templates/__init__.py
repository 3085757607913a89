"""HTML that the report and the dashboard share; all that comes from data is escaped here."""
