"""All rows of the database as files, of any revision and either kind of database, for `sluice backup`."""
