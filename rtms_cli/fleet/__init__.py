"""One stream, one owner: the dispatch between receptions and workers, on one machine or many."""
