"""One vendor a file; its errors are translated here."""
