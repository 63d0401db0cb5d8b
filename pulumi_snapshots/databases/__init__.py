"""Connections to four kinds of databases, which answer one question at a time and are kept from writing."""
