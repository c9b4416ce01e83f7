"""One module a kind of evaluation; a kind's name is its module's."""
