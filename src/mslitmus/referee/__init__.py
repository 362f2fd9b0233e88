"""The referee: anybody's predictions, judged by the same protocol as ours."""
