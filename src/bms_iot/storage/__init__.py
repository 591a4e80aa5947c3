"""The gateway's database: its connection and its queries. Hot paths are Core, not ORM."""
