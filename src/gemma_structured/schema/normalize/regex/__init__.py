"""Regular expressions of ECMA-262: read, compared, combined, and written so that a grammar reads them."""
