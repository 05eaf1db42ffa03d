"""Who may do what: accounts, users, key pairs, applications, user tokens and join tokens."""
