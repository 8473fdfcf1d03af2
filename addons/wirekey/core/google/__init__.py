"""Google logins: accounts, their tokens, and the credentials that Google's own libraries find."""
