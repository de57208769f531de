"""Who may do what: permissions, principals, ceilings, grants, decisions. Pure."""
