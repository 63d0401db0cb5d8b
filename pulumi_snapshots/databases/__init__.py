"""Connections to four kinds of databases, which answer one question and are kept from writing."""
