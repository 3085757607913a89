"""What pictures, the report and the dashboard show, read a piece at a time; no picture is made here."""
