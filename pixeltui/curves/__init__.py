"""A run's events as curves, and what any chart needs to draw them: the console's, and the report's."""
