"""The server: sessions, catalogs, locks, the ledger and the guard."""
