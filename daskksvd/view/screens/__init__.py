"""The screens of the dashboard: layout and callbacks; what they show is made elsewhere."""
