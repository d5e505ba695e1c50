"""Several clouds as one: the directory says which cloud owns which user, in memory or in a server that they share."""
