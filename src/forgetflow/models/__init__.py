"""Models of the field that constituents can be; one file each, one registry line here."""
