"""Several clouds as one: the directory of who owns which user, in memory or in a server that they share."""
