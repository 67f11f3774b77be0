"""One stream, one owner: the dispatch between who hears of streams and who records them, on one machine or many."""
