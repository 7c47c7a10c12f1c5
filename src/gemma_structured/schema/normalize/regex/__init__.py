"""Regular expressions of ECMA-262: read, compared, combined, and written for a grammar."""
