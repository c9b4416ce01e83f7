"""The doctor: watches a run, says in words what is going wrong, with the number that shows it and what to try."""
