"""Key states and their legal transitions (NIST SP 800-57 part 1). Pure."""
