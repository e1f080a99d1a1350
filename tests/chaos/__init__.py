"""Several of the service on one PostgreSQL, killed, frozen and cut off at random; afterwards all is there."""
